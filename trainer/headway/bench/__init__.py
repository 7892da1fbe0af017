"""What `headway bench` measures: pure measuring, no printing."""

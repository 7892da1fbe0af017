"""The study service: studies of a whole cluster, asked and told over HTTP."""

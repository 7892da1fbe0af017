"""Planners that nobody trained: kernels that act for all environments in one call.

Their machine code is cached apart from the environment's (see `headway.envs.nav.jit`): editing one of them compiles
nothing else.
"""

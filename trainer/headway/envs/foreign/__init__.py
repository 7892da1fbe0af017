"""Gymnasium environments of other packages, `spec.train.env.gym`, behind the same seam as our own.

`vector.py` is the seam's face; `pool.py` starts the processes in which `worker.py` steps several environments each;
`packages.py` makes an environment by its id, `spaces.py` flattens what it gives, `draws.py` seeds its episodes.
`judge.py` and `host_judge.py` say what steps would have earned with other goals.
"""

#!/usr/bin/env bash
# bake-node.sh IMAGE...: makes the workers' node image, with these images in it, for the next kind-up.sh.
#
# For images of gigabytes: loading one onto every running node takes minutes and its size twice per node, baked in it
# costs both once. Baked again only when the node image or a large layer has changed; what is newer above those layers,
# kind-up.sh loads (load-image.sh). Run it before kind-up.sh.
. "$(dirname "$0")/lib.sh"

WORKER=headway.local/kind-worker:$K8S_VERSION
LARGE=100000000

# The layers up to the topmost large one. Docker's classic builder keeps an image of that state; where there is none
# (BuildKit, a pulled image), all the layers.
large_layers() { # IMAGE
  local at
  at=$(docker history --no-trunc --human=false --format '{{.Size}} {{.ID}}' "$1" | awk -v large=$LARGE '$1 > large {print $2; exit}')
  case $at in sha256:*) ;; *) at=$1 ;; esac
  docker image inspect --format '{{ json .RootFS.Layers }}' "$at"
}

main() {
  local node mark image
  [ $# -gt 0 ] || die "usage: bake-node.sh IMAGE..."
  for image in "$@"; do have_image "$image" || die "$image: not in the Docker engine: build or pull it first"; done
  if command -v flock >/dev/null; then  # a second run waits, and then finds it done
    mkdir -p "$CACHE"
    exec 9>"$CACHE/bake.lock"
    flock 9
  fi
  node=$("$CLUSTER_DIR/node-image.sh")
  have_image "$node" || step "docker pull $node" docker pull -q "$node"
  mark=$(fingerprint "$(docker image inspect --format '{{ .Id }}' "$node")" "$(for image in "$@"; do large_layers "$image"; done)")
  if image_is_current "$WORKER" "$mark"; then
    say "$WORKER has the large layers of $* already"
  else
    docker image rm --force "$WORKER" >/dev/null 2>&1 || true  # one at a time: they are large
    # On its way packed, packed and unpacked; afterwards in the node image, on each of two workers, and room for pods.
    need_space $((4 * ($(docker image inspect --format '{{ .Size }}' "$@" | paste --serial --delimiters +)))) "$WORKER"
    step "$WORKER baked with $*" bake "$WORKER" "$mark" "$node" "$@"
  fi
  mkdir -p "$STATE"
  echo "$WORKER" >"$STATE/worker-image"
  printf '%s\n' "$@" >"$STATE/baked-images"
  echo "$WORKER"
}

main "$@"

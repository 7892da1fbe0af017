#!/usr/bin/env bash
# load-image.sh IMAGE...: puts images from the Docker engine onto the nodes of the running cluster.
#
# A node that has the image already, baked in or from an earlier load, is left out. On small images: see bake-node.sh for
# those of gigabytes. Pods name them docker.io/library/NAME:TAG, or as they are called if that has a registry in it, with
# imagePullPolicy IfNotPresent or Never.
. "$(dirname "$0")/lib.sh"

LARGE=$((1 << 30))

# kind's nodes ask the runtime for the image's id, which is the one that Docker shows.
lacking_nodes() { # IMAGE ID
  local node
  for node in $("$BIN/kind" get nodes --name "$CLUSTER_NAME"); do
    docker exec "$node" crictl inspecti "$1" 2>/dev/null | grep -q "$2" || echo "$node"
  done
}

main() {
  local image id nodes
  [ $# -gt 0 ] || die "usage: load-image.sh IMAGE..."
  for image in "$@"; do
    have_image "$image" || die "$image: not in the Docker engine: build or pull it first"
    id=$(docker image inspect --format '{{ .Id }}' "$image")
    nodes=$(lacking_nodes "$image" "$id" | paste -sd, -)
    if [ -z "$nodes" ]; then say "$image: on every node already"; continue; fi
    if [ "$(docker image inspect --format '{{ .Size }}' "$image")" -gt $LARGE ]; then
      nodes=$(tr , '\n' <<<"$nodes" | grep -v control-plane | paste -sd, - || true)  # tainted: no pod of ours runs there
      if [ -z "$nodes" ]; then say "$image: on every worker already"; continue; fi
      say "$image is over 1 GiB: bake-node.sh before kind-up.sh would be quicker"
    fi
    step "$image loaded onto $nodes" "$BIN/kind" load docker-image "$image" --name "$CLUSTER_NAME" --nodes "$nodes"
  done
}

main "$@"

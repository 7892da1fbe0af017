#!/usr/bin/env bash
# load-image.sh IMAGE...: puts images from the Docker engine onto the nodes of the running cluster.
#
# Only layers that a node lacks travel: of an image that is baked in (bake-node.sh) and was rebuilt since, a megabyte or
# so; of one that is there already, nothing. Images of gigabytes go to the workers only. Pods name the images
# docker.io/library/NAME:TAG, or as they are called if that has a registry in it, with imagePullPolicy IfNotPresent.
. "$(dirname "$0")/lib.sh"

LARGE=$((1 << 30))

# The name under which a node knows NAME:TAG.
full_name() {
  case $1 in
    *.*/* | *:*/* | localhost/*) echo "$1" ;;
    */*) echo "docker.io/$1" ;;
    *) echo "docker.io/library/$1" ;;
  esac
}

lacking_nodes() { # IMAGE; the runtime's id of an image is the one that Docker shows
  local node id
  id=$(docker image inspect --format '{{ .Id }}' "$1")
  for node in $("$BIN/kind" get nodes --name "$CLUSTER_NAME"); do
    docker exec "$node" crictl inspecti "$(full_name "$1")" 2>/dev/null | grep -q "$id" || echo "$node"
  done
}

# The layers that all these nodes have unpacked.
known_layers() { # NODE...
  local node
  for node in "$@"; do docker exec "$node" ctr -n k8s.io snapshots ls | awk '$1 ~ /^sha256:/ {print $1}'; done \
    | sort | uniq --count | awk -v nodes=$# '$1 == nodes {print $2}'
}

load() { # IMAGE NODE...
  local image=$1 node
  shift
  archive=$(mktemp)  # not local: the trap outlives this function
  trap 'rm -f "$archive"' EXIT
  if docker save "$image" | python3 "$CLUSTER_DIR/thin_image.py" "$(full_name "$image")" $(known_layers "$@") >"$archive"; then
    for node in "$@"; do
      docker exec -i "$node" ctr -n k8s.io images import --snapshotter overlayfs - <"$archive" || return 1
    done
  else
    "$BIN/kind" load docker-image "$image" --name "$CLUSTER_NAME" --nodes "$(IFS=,; echo "$*")"
  fi
}

main() {
  local image nodes
  [ $# -gt 0 ] || die "usage: load-image.sh IMAGE..."
  for image in "$@"; do
    have_image "$image" || die "$image: not in the Docker engine: build or pull it first"
    nodes=$(lacking_nodes "$image")
    if [ "$(docker image inspect --format '{{ .Size }}' "$image")" -gt $LARGE ]; then
      nodes=$(grep -v control-plane <<<"$nodes" || true)  # tainted: no pod of ours runs there
    fi
    if [ -z "$nodes" ]; then say "$image: on the nodes already"; continue; fi
    step "$image loaded onto $(wc -l <<<"$nodes") nodes" load "$image" $nodes
  done
}

main "$@"

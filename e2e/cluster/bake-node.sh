#!/usr/bin/env bash
# bake-node.sh IMAGE...: makes the workers' node image, with these images in it, for the next kind-up.sh.
#
# For images of gigabytes: loading one onto every running node takes minutes and its size twice per node, baked in it
# costs both once. Baked again only when an image or the node image has changed. Run it before kind-up.sh.
. "$(dirname "$0")/lib.sh"

WORKER=headway.local/kind-worker:$K8S_VERSION

main() {
  local node mark image
  [ $# -gt 0 ] || die "usage: bake-node.sh IMAGE..."
  node=$("$CLUSTER_DIR/node-image.sh")
  have_image "$node" || step "docker pull $node" docker pull -q "$node"
  for image in "$@"; do have_image "$image" || die "$image: not in the Docker engine: build or pull it first"; done
  mark=$(fingerprint "$(docker image inspect --format '{{ .Id }}' "$node" "$@")" "$@")
  if ! image_is_current "$WORKER" "$mark"; then
    docker image rm --force "$WORKER" >/dev/null 2>&1 || true  # one at a time: they are large
    step "$WORKER baked with $*" bake "$WORKER" "$mark" "$node" "$@"
  fi
  mkdir -p "$STATE"
  echo "$WORKER" >"$STATE/worker-image"
  echo "$WORKER"
}

main "$@"

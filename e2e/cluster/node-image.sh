#!/usr/bin/env bash
# node-image.sh: prints the node image for kind.
#
# E2E_NODE_IMAGE if set, the published kindest/node where it can be had, else one made here from Go modules and Debian's
# packages. All that is built stays in the cache and in the Docker engine.
. "$(dirname "$0")/lib.sh"

# The images published for kind v0.33, by minor.
declare -A PUBLISHED=([v1.34]=kindest/node:v1.34.11 [v1.35]=kindest/node:v1.35.8 [v1.36]=kindest/node:v1.36.4)
MINOR=${K8S_VERSION%.*}
BUILT=headway.local/kind-node:$K8S_VERSION
BARE=headway.local/kind-node-bare:$K8S_VERSION  # before the control plane's images are baked in

IN_NODE=(kubelet kubeadm kubectl crictl)
IN_IMAGES=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns pause)

build_bare() { # FINGERPRINT
  local folder
  folder=$(mktemp -d)
  cp -r "$CLUSTER_DIR/node/." "$folder"
  mkdir "$folder/bin"
  cp "${IN_NODE[@]/#/$BIN/}" "$folder/bin"
  echo "$K8S_VERSION" >"$folder/rootfs/kind/version"
  build_image "$BARE" "$1" "$folder" --build-arg "BASE_IMAGE=$BASE"
  rm -rf "$folder"
}

# kubeadm names the images that it will ask for; each is one static binary. (CoreDNS's tag is kubeadm's, its content is
# $COREDNS_VERSION.)
component_images() { "$BIN/kubeadm" config images list --kubernetes-version "$K8S_VERSION"; }

build_components() {
  local image command root
  for image in $(component_images); do
    command=${image##*/}
    command=${command%%:*}
    root=$(mktemp -d)
    mkdir -p "$root/usr/local/bin" "$root/tmp"
    if [ "$command" = kube-proxy ]; then
      docker run --rm --entrypoint sh "$BARE" -c "$(cat "$CLUSTER_DIR/node/iptables-files")" | tar -C "$root" -x
    fi
    cp "$BIN/$command" "$root/usr/local/bin"
    tar -C "$root" -c . | docker import --change "ENTRYPOINT [\"/usr/local/bin/$command\"]" \
      --change 'ENV PATH=/usr/local/bin:/usr/sbin' - "$image"
    rm -rf "$root"
  done
}

bake_components() { # FINGERPRINT
  local images
  images=$(component_images)
  bake "$BUILT" "$1" "$BARE" $images
  docker image rm $images  # they lend their names only for the baking
}

build() {
  local mark
  [ "$MINOR" = v1.34 ] || die "a node image is built here for Kubernetes v1.34 only, not $K8S_VERSION: set E2E_NODE_IMAGE"
  mark=$(fingerprint "$CLUSTER_DIR/node" "$CLUSTER_DIR/gobuild" "$CLUSTER_DIR/go-build.sh" "$K8S_VERSION" "$COREDNS_VERSION")
  if image_is_current "$BUILT" "$mark"; then return; fi
  BASE=$("$CLUSTER_DIR/base-image.sh")
  "$CLUSTER_DIR/go-build.sh" "${IN_NODE[@]}" "${IN_IMAGES[@]}"
  step "$BARE built" build_bare "$mark"
  step "control plane's images built" build_components
  step "$BUILT baked" bake_components "$mark"
}

main() {
  local published=${PUBLISHED[$MINOR]:-}
  if [ -n "${E2E_NODE_IMAGE:-}" ]; then echo "$E2E_NODE_IMAGE"; return; fi
  "$CLUSTER_DIR/engine.sh"
  if [ -n "$published" ] && { have_image "$published" || { can_pull && docker pull -q "$published" >/dev/null; }; }; then
    echo "$published"
    return
  fi
  say "kindest/node for $MINOR cannot be pulled: using a node image built here"
  build
  echo "$BUILT"
}

main "$@"

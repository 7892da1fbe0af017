#!/usr/bin/env bash
# tools.sh [NAME...]: sees to it that kind, kubectl and helm are in the cache; prints their folder, for PATH.
#
# Published binaries with their published checksums where they can be had, else built from Go modules.
. "$(dirname "$0")/lib.sh"

download() { # NAME FILE
  local os platform
  os=$(uname -s | tr '[:upper:]' '[:lower:]')
  platform=$os-$(arch)
  case $1 in
    kind)
      fetch_checked "https://github.com/kubernetes-sigs/kind/releases/download/$KIND_VERSION/kind-$platform" "$2" \
        "https://github.com/kubernetes-sigs/kind/releases/download/$KIND_VERSION/kind-$platform.sha256sum" ;;
    kubectl)
      fetch_checked "https://dl.k8s.io/release/$K8S_VERSION/bin/$os/$(arch)/kubectl" "$2" \
        "https://dl.k8s.io/release/$K8S_VERSION/bin/$os/$(arch)/kubectl.sha256" ;;
    helm)
      fetch_checked "https://get.helm.sh/helm-$HELM_VERSION-$platform.tar.gz" "$2.tar.gz" \
        "https://get.helm.sh/helm-$HELM_VERSION-$platform.tar.gz.sha256sum" || return 1
      tar -xzf "$2.tar.gz" -O "$platform/helm" >"$2"
      rm "$2.tar.gz" ;;
    *) die "$1: not one of kind, kubectl, helm" ;;
  esac
}

main() {
  local name missing=()
  mkdir -p "$BIN"
  for name in "$@"; do
    [ -x "$BIN/$name" ] && continue
    if download "$name" "$BIN/$name.new"; then
      chmod +x "$BIN/$name.new"
      mv "$BIN/$name.new" "$BIN/$name"
      say "$name downloaded"
    else
      missing+=("$name")
    fi
  done
  [ ${#missing[@]} = 0 ] || "$CLUSTER_DIR/go-build.sh" "${missing[@]}"
  echo "$BIN"
}

[ $# -gt 0 ] || set -- kind kubectl helm
main "$@"

#!/usr/bin/env bash
# controlplane.sh: prints a folder with kube-apiserver, etcd and kubectl, for the integration tests.
# controlplane.sh --cached: the same, but never downloads or builds; exits with 3 where there is none yet.
#
# In this order: KUBEBUILDER_ASSETS; the cache; the envtest release that controller-runtime's users test with; a build
# from Go modules (about 4 minutes on two cores).
. "$(dirname "$0")/lib.sh"

NEEDED=(kube-apiserver etcd kubectl)
ENVTEST=$CACHE/envtest-$ENVTEST_VERSION
ENVTEST_INDEX=https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml

complete() { # FOLDER
  local name
  for name in "${NEEDED[@]}"; do [ -x "$1/$name" ] || return 1; done
}

# The release's SHA-512 stands in the index that its publishers keep in their repository, not beside the file.
download_envtest() {
  local file index
  file=envtest-$ENVTEST_VERSION-$(uname -s | tr '[:upper:]' '[:lower:]')-$(arch).tar.gz
  index=$(mktemp -d)
  trap 'rm -rf "$index"' RETURN
  fetch "$ENVTEST_INDEX" "$index/index" || return 1
  sum=$(grep -A 2 "^ *$file:" "$index/index" | sed -n 's/^ *hash: *//p' | head -n 1)
  [ -n "$sum" ] || die "$file: not in $ENVTEST_INDEX: set E2E_ENVTEST_VERSION to a release that is"
  fetch "https://github.com/kubernetes-sigs/controller-tools/releases/download/envtest-$ENVTEST_VERSION/$file" "$index/$file" \
    || return 1
  echo "$sum  $index/$file" | sha512sum --check --quiet || die "$file: does not match the checksum in $ENVTEST_INDEX"
  mkdir -p "$ENVTEST"
  tar -xzf "$index/$file" -C "$ENVTEST" --strip-components 2  # controller-tools/envtest/NAME
}

main() {
  if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
    complete "$KUBEBUILDER_ASSETS" || die "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS: no ${NEEDED[*]} there; correct or unset it"
    echo "$KUBEBUILDER_ASSETS"
    return
  fi
  for folder in "$BIN" "$ENVTEST"; do
    if complete "$folder"; then echo "$folder"; return; fi
  done
  [ "${1:-}" != --cached ] || exit 3
  if download_envtest; then
    say "control plane $ENVTEST_VERSION downloaded"
    echo "$ENVTEST"
    return
  fi
  say "the envtest release cannot be downloaded: building kube-apiserver, etcd and kubectl, about 4 minutes"
  "$CLUSTER_DIR/go-build.sh" "${NEEDED[@]}"
  echo "$BIN"
}

main "$@"

#!/usr/bin/env bash
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes the images of the managed hosts, background-jobs-host:SUITE, out of Debian packages: no image registry is
# needed. Does nothing for an image that was made from these same files.
#
#   tests/docker/images.sh [SUITE ...]        bullseye, bookworm and trixie where none is given
#
# BGJ_IMAGE_BULLSEYE, BGJ_IMAGE_BOOKWORM, BGJ_IMAGE_TRIXIE: an image to pull and tag instead.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=background-jobs-host
label=background.jobs.content
packages=python3,python3-apt,sudo,openssh-server,systemd,systemd-sysv,dbus,iproute2,procps,ca-certificates,cron,git,unzip

mirror() {
  # Where this machine itself gets its packages: a mirror that answers, whatever the machine is allowed to reach.
  local uri
  # shellcheck disable=SC2016  # apt's variable, not the shell's
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' 2>/dev/null |
    grep -v -e security -e backports | head -n 1 || true)
  echo "${uri:-http://deb.debian.org/debian}"
}

build() {
  local suite=$1 content=$2 work public=BGJ_IMAGE_${1^^}
  if [ -n "${!public:-}" ]; then
    docker pull --quiet "${!public}"
    docker tag "${!public}" "$name:$suite"
    return
  fi
  work=$(mktemp -d)
  # The archive comes first, whole: a pipe that breaks would import an empty image.
  if ! mmdebstrap --mode=root --variant=minbase --include="$packages" \
    --aptopt='Acquire::Retries "3"' \
    --customize-hook="$here/customize.sh \"\$1\"" \
    "$suite" "$work/base.tar" "$(mirror)" >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    rm -rf "$work"
    return 1
  fi
  docker import --change 'CMD ["/usr/local/sbin/host-init"]' --change "LABEL $label=$content" \
    "$work/base.tar" "$name:$suite" >/dev/null
  rm -rf "$work"
}

ensure() {
  local suite=$1 content
  content=$(cat "$here"/{images.sh,customize.sh,host-*} | sha256sum | cut -c1-16)
  if [ "$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$name:$suite" 2>/dev/null)" = "$content" ]; then
    echo "$name:$suite is up to date"
    return
  fi
  SECONDS=0
  build "$suite" "$content"
  echo "$name:$suite made in $SECONDS s"
}

if [ "${1:-}" = --ensure ]; then
  ensure "$2"
  exit
fi
[ $# -gt 0 ] || set -- bullseye bookworm trixie
printf '%s\n' "$@" | xargs -P 2 -I SUITE "$0" --ensure SUITE

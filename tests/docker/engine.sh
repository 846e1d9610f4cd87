#!/usr/bin/env bash
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Makes a Docker engine answer: as root on Debian, installs and starts what is missing; elsewhere, says what to do.

set -euo pipefail

log=/var/log/background-jobs-dockerd.log

give_up() {
  echo "$1" >&2
  echo "Start a Docker engine that this user may use, or leave its tests out: SKIP_DOCKER=1 make test" >&2
  exit 1
}

may_install() {
  [ -e /etc/debian_version ] && [ "$(id -u)" = 0 ]
}

answers() {
  docker info >/dev/null 2>&1
}

install_missing() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io iptables)
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  command -v ssh >/dev/null || missing+=(openssh-client)
  [ ${#missing[@]} -gt 0 ] || return 0
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

start() {
  # It outlives the temporary folder of whoever starts it.
  env -u TMPDIR setsid nohup dockerd >"$log" 2>&1 </dev/null &
  for _ in $(seq 60); do
    ! answers || return 0
    sleep 1
  done
  tail -n 20 "$log" >&2
  give_up "dockerd was started and does not answer."
}

if may_install; then
  install_missing
fi
if ! answers; then
  may_install || give_up "No Docker engine answers, and this is not Debian as root, where one could be installed."
  start
fi
docker info --format 'Docker engine {{.ServerVersion}}, control groups v{{.CgroupVersion}}'

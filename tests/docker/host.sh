#!/usr/bin/env bash
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# A managed host in a container of background-jobs-host:SUITE.
#
#   host.sh up NAME SUITE PUBLIC_KEY [systemd] [-- OPTION ...]
#                           starts it, with options of docker run, and prints the port of its sshd on 127.0.0.1;
#                           root and deploy (sudo without a password) may log in by the key
#   host.sh down NAME ...   removes them, running or not

set -euo pipefail

free_port() {
  # Drawn here and not by docker, which would draw another one after a restart.
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

for_systemd() {
  if [ -d /sys/fs/cgroup/systemd ]; then
    echo --cgroupns=host --volume=/sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd:rw
  else
    echo --cgroupns=private --cap-add=SYS_ADMIN
  fi
}

authorize() {
  local name=$1 user=$2 key=$3
  docker exec --interactive "$name" sh -c "
    home=\$(getent passwd $user | cut -d: -f6)
    install -d -m 0700 -o $user -g $user \"\$home/.ssh\"
    install -m 0600 -o $user -g $user /dev/stdin \"\$home/.ssh/authorized_keys\"" <"$key"
}

answers() {
  local port=$1
  python3 -c 'import socket, sys; s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 2)
s.settimeout(2); sys.exit(not s.recv(4).startswith(b"SSH"))' "$port" 2>/dev/null
}

up() {
  local name=$1 suite=$2 key=$3 first='' port options=()
  port=$(free_port)
  shift 3
  if [ "${1:-}" = systemd ]; then
    first=systemd
    read -ra options <<<"--tmpfs=/run --tmpfs=/run/lock $(for_systemd)"
  fi
  # An inventory that names no first process hands over an empty word.
  [ $# = 0 ] || [ "$1" = -- ] || shift
  [ "${1:-}" != -- ] || options+=("${@:2}")
  docker rm --force "$name" >/dev/null 2>&1 || true
  docker run --detach --restart=always --name "$name" --hostname "${name##*-}" --publish "127.0.0.1:$port:22" \
    "${options[@]}" "background-jobs-host:$suite" ${first:+/lib/systemd/systemd} >/dev/null
  authorize "$name" root "$key"
  authorize "$name" deploy "$key"
  for _ in $(seq 100); do
    ! answers "$port" || { echo "$port"; return; }
    sleep 0.2
  done
  docker logs --tail 20 "$name" >&2
  echo "sshd of $name does not answer" >&2
  return 1
}

case ${1:-} in
  up)
    shift
    up "$@"
    ;;
  down)
    shift
    docker rm --force --volumes "$@"
    ;;
  *)
    sed -n 's/^#   //p' "$0" >&2
    exit 2
    ;;
esac

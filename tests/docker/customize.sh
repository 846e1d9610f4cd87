#!/bin/sh
# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Called by mmdebstrap with the root of the new image, before it is packed.

set -eu
root=$1
here=$(cd "$(dirname "$0")" && pwd)

install -m 0755 "$here/host-init" "$here/host-sshd" "$root/usr/local/sbin/"

chroot "$root" useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/deploy"
chmod 0440 "$root/etc/sudoers.d/deploy"

# Bursts of connections are what the tests do; the defaults drop them.
cat >"$root/etc/ssh/sshd_config.d/tests.conf" <<'CONF'
PermitRootLogin prohibit-password
PasswordAuthentication no
MaxStartups 200
MaxSessions 200
PrintMotd no
CONF

# Units that fail or take long where the first process of a container is systemd.
for unit in tmp.mount systemd-udevd.service systemd-logind.service getty.target apt-daily.timer apt-daily-upgrade.timer; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# A login is otherwise refused until systemd says that the machine is up.
sed -i '/pam_nologin/d' "$root/etc/pam.d/sshd"

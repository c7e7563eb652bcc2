# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
#
# /etc/muster/server.hcl of each of three servers; docs/clusters.md says more.

server           = true
data_dir         = "/var/lib/muster"
bootstrap_expect = 3
retry_join       = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

# The same on all servers and agents: `muster keygen` makes one. This file is
# then secret: owner root, group muster, mode 0640.
encrypt = ""

# Where others reach this server; open 8300 and 8301 (TCP) between them.
bind_addr = "10.0.0.1"

# Where users ask.
client_addr = "127.0.0.1 10.0.0.1"

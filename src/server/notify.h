/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* notify - tells the service manager how we are (sd_notify's protocol: one
 * datagram to the socket named in NOTIFY_SOCKET; systemd's sd_notify(3)). */
#ifndef SERVER_NOTIFY_H
#define SERVER_NOTIFY_H

/* "READY=1", "STOPPING=1", "RELOADING=1"...; nothing happens without a manager.
 */
void notify_manager(const char *state);

#endif

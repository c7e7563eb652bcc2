/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "hosts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE "wire0"

enum { WAITING_PACKETS = 10000 }; /* before the wire has read them */

static struct ifreq named(const char *device)
{
    struct ifreq r;
    memset(&r, 0, sizeof r);
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", device);
    return r;
}

static int set_address(int fd, unsigned long what, uint32_t address)
{
    struct ifreq r = named(DEVICE);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(address)};
    memcpy(&r.ifr_addr, &in, sizeof in);
    return ioctl(fd, what, &r);
}

static int set_up(int fd, const char *device)
{
    struct ifreq r = named(device);
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    return ioctl(fd, SIOCSIFFLAGS, &r);
}

static const char *configure(uint32_t address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return "socket";
    struct ifreq queue = named(DEVICE);
    queue.ifr_qlen = WAITING_PACKETS;
    const char *wrong = NULL;
    if (set_address(fd, SIOCSIFADDR, address) != 0 ||
        set_address(fd, SIOCSIFNETMASK, 0xffffff00) != 0 ||
        ioctl(fd, SIOCSIFTXQLEN, &queue) != 0)
        wrong = "the address of the device";
    else if (set_up(fd, DEVICE) != 0 || set_up(fd, "lo") != 0)
        wrong = "taking the device up";
    close(fd);
    return wrong;
}

static const char *fill(struct host *h, uint32_t n)
{
    if (unshare(CLONE_NEWNET) != 0)
        return "a network namespace (are you root?)";
    h->space = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    h->tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (h->space < 0 || h->tun < 0)
        return "/dev/net/tun";
    struct ifreq r = named(DEVICE);
    r.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(h->tun, TUNSETIFF, &r) != 0)
        return "a TUN device";
    h->address = 0x0a4d0000 | n;
    return configure(h->address);
}

const char *hosts_make(struct host *h, uint32_t n)
{
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        return "the namespace of this process";
    const char *wrong = fill(h, n);
    if (setns(home, CLONE_NEWNET) != 0 && wrong == NULL)
        wrong = "going back";
    close(home);
    return wrong;
}

const char *hosts_run(const char *space, char **argv)
{
    int fd = open(space, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
        return space;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return "prctl";
    execvp(argv[0], argv);
    return argv[0];
}

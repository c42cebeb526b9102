/* The floor: what any program has to ask of the kernel for N hosts on a bridge.
 *
 * Run in namespaces of its own (unshare --net --mount --pid --fork). For every host it makes
 * a namespace as `ip netns add` does, with labkit's settings in it, then sends the same netlink
 * messages in the same number of requests: a veth pair with its peer in the namespace and its
 * port in the bridge, loopback up, address, up. Prints the seconds it took once the first host
 * has reached the last by a ping, and ends when its input does. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char buffer[8192];
static struct nlmsghdr *message;
static size_t used;
static int expected;

static void die(const char *what) { perror(what); exit(1); }

static void begin(int type, int flags, const void *head, size_t size) {
    message = (struct nlmsghdr *)(buffer + used);
    memset(message, 0, NLMSG_SPACE(size));
    message->nlmsg_type = type;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message->nlmsg_len = NLMSG_LENGTH(size);
    memcpy(NLMSG_DATA(message), head, size);
    expected++;
}

static struct rtattr *put(int type, const void *data, size_t size) {
    struct rtattr *a = (struct rtattr *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));
    a->rta_type = type;
    a->rta_len = RTA_LENGTH(size);
    if (size && data) memcpy(RTA_DATA(a), data, size);
    message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(a->rta_len);
    return a;
}

static void close_nest(struct rtattr *a) { a->rta_len = (char *)message + message->nlmsg_len - (char *)a; }
static void finish(void) { used += NLMSG_ALIGN(message->nlmsg_len); }

static void transact(int fd) {
    static char answer[65536];
    if (send(fd, buffer, used, 0) < 0) die("send");
    while (expected) {
        int size = recv(fd, answer, sizeof answer, 0);
        if (size < 0) die("recv");
        for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, size); h = NLMSG_NEXT(h, size)) {
            if (h->nlmsg_type != NLMSG_ERROR) continue;
            int error = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
            if (error) { errno = error; die("netlink"); }
            expected--;
        }
    }
    used = 0;
}

static int route_socket(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    if (fd < 0 || bind(fd, (void *)&own, sizeof own)) die("socket");
    return fd;
}

static void setting(const char *name, const char *value) {
    char path[128];
    snprintf(path, sizeof path, "/proc/sys/net/%s", name);
    int fd = open(path, O_WRONLY);
    if (fd < 0) return;
    if (write(fd, value, strlen(value)) < 0) {}
    close(fd);
}

static void settle(void) {
    setting("ipv6/conf/all/disable_ipv6", "1");
    setting("ipv4/ip_forward", "0");
    setting("ipv4/ping_group_range", "0 2147483647");
    setting("bridge/bridge-nf-call-iptables", "0");
    setting("bridge/bridge-nf-call-ip6tables", "0");
    setting("bridge/bridge-nf-call-arptables", "0");
}

static void up(int index) {
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(RTM_NEWLINK, 0, &link, sizeof link);
    finish();
}

static void one_queue(void) {
    unsigned one = 1;
    put(IFLA_NUM_TX_QUEUES, &one, 4);
    put(IFLA_NUM_RX_QUEUES, &one, 4);
}

static void address(int index, unsigned ip) {
    struct ifaddrmsg a = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = index};
    unsigned value = htonl(ip), broadcast = htonl(ip | 0xffff);
    begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &a, sizeof a);
    put(IFA_LOCAL, &value, 4);
    put(IFA_ADDRESS, &value, 4);
    put(IFA_BROADCAST, &broadcast, 4);
    finish();
}

int main(int argc, char **argv) {
    int hosts = argc > 1 ? atoi(argv[1]) : 10;
    struct timespec t0, t1;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", "/run", "tmpfs", 0, NULL)) die("mount");
    mkdir("/run/netns", 0755);
    settle();
    int machine = route_socket(), home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    up(1);
    transact(machine);
    clock_gettime(CLOCK_MONOTONIC, &t0);

    struct ifinfomsg bridge = {.ifi_index = 2};
    begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &bridge, sizeof bridge);
    put(IFLA_IFNAME, "sw", 3);
    put(IFLA_ADDRESS, (unsigned char[]){2, 66, 0, 0, 0, 1}, 6);
    struct rtattr *info = put(IFLA_LINKINFO, NULL, 0);
    put(IFLA_INFO_KIND, "bridge", 6);
    struct rtattr *options = put(IFLA_INFO_DATA, NULL, 0);
    unsigned ageing = 30000, stp = 0;
    put(IFLA_BR_AGEING_TIME, &ageing, 4);
    put(IFLA_BR_STP_STATE, &stp, 4);
    close_nest(options);
    close_nest(info);
    finish();
    address(2, 0x0a000001);
    up(2);
    transact(machine);

    for (int i = 0; i < hosts; i++) {
        char path[64], name[16];
        unsigned char mac_a[6] = {2, 66, 10, 0, 1 + i / 250, i % 250 + 1};
        unsigned char mac_b[6] = {2, 0, 0, 0, i >> 8, i};
        snprintf(path, sizeof path, "/run/netns/h%d", i);
        close(open(path, O_RDONLY | O_CREAT | O_EXCL, 0444));
        if (unshare(CLONE_NEWNET) || mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL)) die("netns");
        int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        int inside = route_socket();
        settle();
        struct rtgenmsg any = {0};
        begin(RTM_NEWNSID, 0, &any, sizeof any);
        put(NETNSA_NSID, &i, 4);
        put(NETNSA_FD, &fd, 4);
        finish();
        transact(machine);
        up(1);
        transact(inside);
        if (setns(home, CLONE_NEWNET)) die("setns");

        int index = 3 + 2 * i, master = 2;
        struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
        begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
        snprintf(name, sizeof name, "veth%07x", i);
        put(IFLA_IFNAME, name, strlen(name) + 1);
        put(IFLA_ADDRESS, mac_b, 6);
        one_queue();
        put(IFLA_MASTER, &master, 4);
        info = put(IFLA_LINKINFO, NULL, 0);
        put(IFLA_INFO_KIND, "veth", 4);
        struct rtattr *data = put(IFLA_INFO_DATA, NULL, 0);
        struct ifinfomsg other = {.ifi_index = index + 1};
        struct rtattr *peer = put(VETH_INFO_PEER, &other, sizeof other);
        put(IFLA_IFNAME, "eth0", 5);
        put(IFLA_ADDRESS, mac_a, 6);
        put(IFLA_NET_NS_FD, &fd, 4);
        one_queue();
        close_nest(peer);
        close_nest(data);
        close_nest(info);
        finish();
        transact(machine);
        up(index + 1);
        address(index + 1, 0x0a000000 | (1 + i / 250) << 8 | (i % 250 + 1));
        transact(inside);
    }
    clock_gettime(CLOCK_MONOTONIC, &t1);
    char ping[128];
    int last = hosts - 1;
    snprintf(ping, sizeof ping, "nsenter --net=/run/netns/h0 ping -c 1 -W 5 10.0.%d.%d >/dev/null",
             1 + last / 250, last % 250 + 1);
    if (system(ping)) { fprintf(stderr, "the first host does not reach the last\n"); return 1; }
    printf("%.6f\n", t1.tv_sec - t0.tv_sec + (t1.tv_nsec - t0.tv_nsec) / 1e9);
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}

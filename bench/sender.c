/* Sends COUNT frames of SIZE bytes out of INTERFACE, RATE a second, and prints the seconds it took.
 *
 * They have an EtherType for local experiments (0x88b5) and a MAC address that nobody has. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 16 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    long count = atol(argv[2]), sent = 0;
    size_t size = atoi(argv[3]);
    double rate = atof(argv[4]);
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(argv[1])};
    if (fd < 0 || bind(fd, (void *)&to, sizeof to)) return perror("socket"), 1;
    static unsigned char frame[2048] = {2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb, 0x88, 0xb5};
    struct iovec part = {frame, size};
    struct mmsghdr many[BATCH];
    memset(many, 0, sizeof many);
    for (int i = 0; i < BATCH; i++) many[i].msg_hdr.msg_iov = &part, many[i].msg_hdr.msg_iovlen = 1;
    double start = now();
    while (sent < count) {
        while (now() < start + sent / rate) {}
        int next = count - sent < BATCH ? count - sent : BATCH;
        int done = sendmmsg(fd, many, next, 0);
        if (done < 0) return perror("sendmmsg"), 1;
        sent += done;
    }
    printf("%f\n", now() - start);
    return 0;
}

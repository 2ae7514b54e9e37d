/* The floor of a fan-out: an epoll server that sends one ready frame to every watcher, and nothing else.

   fanout_floor PORT CONTROL WATCHERS GROUPS EVENTS_IN_FLIGHT SECONDS BURST
   PORT and CONTROL as in fanout_watchers.c; a path that ends with s<number> names the group.
   Build: cc -O2 -o fanout_floor fanout_floor.c */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 424 };

static int watchers, groups, burst, *sockets, *joined;
static long serial, short_sends;

static double cpu_s(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, (void *)&a, sizeof a) || listen(fd, 4096)) perror("listen"), exit(1);
  return fd;
}

static void publish(int group) {
  static unsigned char frames[16 * FRAME];
  for (int i = 0; i < burst; i++) {
    unsigned char *f = frames + i * FRAME;
    memset(f, ' ', FRAME);
    f[0] = 0x81, f[1] = 126, f[2] = (FRAME - 4) >> 8, f[3] = (FRAME - 4) & 255;
    snprintf((char *)f + 4, FRAME - 4, "{\"type\":\"transcript.partial\",\"text\":\"t=%020lu %ld\"}", (unsigned long)now_ns(), serial++);
  }
  for (int i = 0; i < joined[group]; i++)
    for (int j = 0; j < burst; j++) /* the floor knows no joining: one send for each event */
      if (send(sockets[group * watchers + i], frames + j * FRAME, FRAME, MSG_DONTWAIT | MSG_NOSIGNAL) != FRAME) short_sends++;
}

int main(int argc, char **argv) {
  if (argc < 8) return fprintf(stderr, "see the head of the source\n"), 2;
  watchers = atoi(argv[3]), groups = atoi(argv[4]), burst = atoi(argv[7]);
  int in_flight = atoi(argv[5]), control = -1, next = 0, ep = epoll_create1(0);
  double seconds = atof(argv[6]), cpu0 = 0, warm = 0.5;
  sockets = calloc((long)watchers * groups, sizeof *sockets), joined = calloc(groups, sizeof *joined);
  int door = listen_on(atoi(argv[1])), side = listen_on(atoi(argv[2]));
  struct epoll_event e = {EPOLLIN, {.fd = door}}, found[256];
  epoll_ctl(ep, EPOLL_CTL_ADD, door, &e);
  e.data.fd = side;
  epoll_ctl(ep, EPOLL_CTL_ADD, side, &e);
  puts("ready");
  fflush(stdout);
  uint64_t began = 0;
  long done = 0, done0 = -1;
  for (;;) {
    int n = epoll_wait(ep, found, 256, 100);
    for (int i = 0; i < n; i++) {
      int fd = found[i].data.fd, one = 1;
      if (fd == door || fd == side) {
        int made = accept4(fd, 0, 0, SOCK_NONBLOCK);
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        e.data.fd = made;
        epoll_ctl(ep, EPOLL_CTL_ADD, made, &e);
        if (fd == side) {
          control = made, began = now_ns();
          for (int j = 0; j < in_flight; j++) publish(next++ % groups);
        }
        continue;
      }
      char data[4096];
      long size = recv(fd, data, sizeof data - 1, 0);
      if (size <= 0) {
        epoll_ctl(ep, EPOLL_CTL_DEL, fd, 0);
        continue;
      }
      if (fd == control) {
        for (long at = 0; at + 16 <= size; at += 16)
          if (++done % burst == 0) publish(next++ % groups);
        continue;
      }
      data[size] = 0;
      char *path = strstr(data, "=s");
      int group = path ? atoi(path + 2) : 0;
      sockets[group * watchers + joined[group]++] = fd;
      const char *yes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
      if (send(fd, yes, strlen(yes), 0) < 0) short_sends++;
    }
    if (!began) continue;
    double since = (now_ns() - began) / 1e9;
    if (done0 < 0 && since > warm) done0 = done, cpu0 = cpu_s();
    if (done0 >= 0 && since > warm + seconds && done > done0) {
      double deliveries = (double)(done - done0) * watchers;
      printf("{\"us\":%.4f,\"deliveries\":%.0f,\"short\":%ld}\n", (cpu_s() - cpu0) / deliveries * 1e6, deliveries, short_sends);
      return 0;
    }
  }
}

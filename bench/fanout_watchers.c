/* Many watchers of a live stream in one process, so cheap that a server under test has the machine to itself.

   fanout_watchers PORT CONTROL WATCHERS GROUPS PATH [greeting=N] [stopped=N] [spin=0|1] [churn=N] [window=BYTES]

   PATH has one %d for the group. Watcher i belongs to group i / (WATCHERS / GROUPS). After its handshake and `greeting`
   messages it is up. When all are, CONTROL is connected to, and told by 16 bytes (group, event, monotonic ns) that
   the last watcher of a group has its k-th event. An event that holds `"t=<ns>` goes into the latency figures, a stamp
   that comes again (words that are shown once more when they are stable) only the first time. What comes over CONTROL
   begins the latency figures anew.
   `stopped`: the last N watchers never read again. `churn`: no events; N watchers come and go, WATCHERS at a time.
   The server closes CONTROL to end the run; the figures then go to standard output as JSON.
   Build: cc -O2 -o fanout_watchers fanout_watchers.c */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 64, WINDOW = 4096, SAMPLES = 4000000 };

typedef struct {
  int fd, group, stopped, is_up, is_open;
  uint32_t events;                     /* after the greeting */
  int greeted;
  unsigned char head[2048];            /* of the answer, then of the frame under way */
  int headed;
  uint64_t left;                       /* of the frame's payload */
  int opcode;
  uint64_t stamp;                      /* the newest */
  unsigned char start[512];            /* of the payload: pings and time stamps are found there */
  int started;
} Watcher;

static Watcher *watchers;
static int count, groups, port, greeting = 0, stopped = 0, spin = 1, window = 0, control = -1, up = 0;
static long churn = 0;
static const char *path;
static uint32_t (*arrived)[WINDOW];    /* by group and event: how many have it */
static int *reading;                   /* by group: how many read */
static float *latencies;
static long samples = 0, messages = 0, pings = 0, lost = 0;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int dial(int to, int number) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (fd < 0) fail("socket");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + number % 60)};
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one); /* 60 × 28,000 ports: none runs out */
  if (number >= 0 && bind(fd, (void *)&from, sizeof from)) fail("bind");
  if (window && number >= 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (connect(fd, (void *)&a, sizeof a)) fail("connect");
  return fd;
}

static void has_event(Watcher *w, uint64_t at) {
  messages++;
  if (w->greeted < greeting) {
    w->greeted++;
    return;
  }
  w->start[w->started < 511 ? w->started : 511] = 0;
  char *stamp = strstr((char *)w->start, "\"t=");
  uint64_t said = stamp ? strtoull(stamp + 3, 0, 10) : 0;
  if (said > w->stamp && samples < SAMPLES) latencies[samples++] = (at - said) / 1e6;
  if (said > w->stamp) w->stamp = said;
  uint32_t event = w->events++;
  if (!w->stopped && ++arrived[w->group][event % WINDOW] == (uint32_t)reading[w->group]) {
    arrived[w->group][event % WINDOW] = 0;
    struct { uint32_t group, event; uint64_t at; } told = {w->group, event, at};
    if (control >= 0 && send(control, &told, sizeof told, MSG_NOSIGNAL) < 0) control = -2;
  }
}

static void frame_ends(Watcher *w, uint64_t at) {
  if (w->opcode == 1) has_event(w, at);
  if (w->opcode == 9) {
    unsigned char pong[140] = {0x8a, 0x80 | w->started};
    memcpy(pong + 6, w->start, w->started);
    pings++;
    if (send(w->fd, pong, 6 + w->started, MSG_NOSIGNAL) < 0) lost++;
  }
  w->headed = w->started = 0;
}

static void feed(Watcher *w, const unsigned char *data, long size) {
  uint64_t at = now_ns();
  while (size > 0) {
    if (w->left) {
      long take = w->left < (uint64_t)size ? (long)w->left : size;
      int keep = take < 511 - w->started ? take : 511 - w->started;
      memcpy(w->start + w->started, data, keep);
      w->started += keep;
      w->left -= take, data += take, size -= take;
      if (!w->left) frame_ends(w, at);
      continue;
    }
    w->head[w->headed++] = *data++, size--;
    int need = w->headed < 2 ? 2 : (w->head[1] & 127) == 126 ? 4 : (w->head[1] & 127) == 127 ? 10 : 2;
    if (w->headed < need) continue;
    uint64_t length = w->head[1] & 127;
    if (length > 125) {
      int from = 2, to = need;
      for (length = 0; from < to; from++) length = length << 8 | w->head[from];
    }
    w->opcode = w->head[0] & 15, w->left = length, w->started = 0;
    if (!length) frame_ends(w, at);
  }
}

static void come(int ep, int number, long serial) {
  Watcher *w = &watchers[number];
  memset(w, 0, sizeof *w);
  w->group = number / (count / groups) % groups;
  w->stopped = number >= count - stopped;
  w->fd = dial(port, (int)(serial % 1000000));
  w->is_open = 1;
  char request[1024], where[512];
  snprintf(where, sizeof where, path, w->group);
  int size = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", where);
  if (send(w->fd, request, size, MSG_NOSIGNAL) != size) fail("send");
  fcntl(w->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = w};
  epoll_ctl(ep, EPOLL_CTL_ADD, w->fd, &e);
}

/* Half of them vanish with a reset, the others say good bye. */
static void go(Watcher *w, int number) {
  if (number % 2) {
    struct linger reset = {1, 0};
    setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  } else if (send(w->fd, "\x88\x82\0\0\0\0\x03\xe8", 8, MSG_NOSIGNAL) < 0) {
    lost++;
  }
  close(w->fd);
  w->is_open = 0;
}

/* The handshake, or data. Returns: whether the watcher has come up just now. */
static int hear(Watcher *w) {
  static unsigned char data[1 << 16];
  long size = recv(w->fd, data, sizeof data, 0);
  if (size < 0 && errno == EAGAIN) return 0;
  if (size <= 0) {
    lost++;
    close(w->fd);
    w->is_open = 0;
    return 0;
  }
  unsigned char *at = data;
  if (!w->is_up) {
    int before = w->headed, fits = (int)sizeof w->head - 1 - before;
    memcpy(w->head + before, data, size < fits ? size : fits);
    w->headed += size < fits ? size : fits;
    w->head[w->headed] = 0;
    char *end = strstr((char *)w->head, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp((char *)w->head, "HTTP/1.1 101", 12)) {
      fprintf(stderr, "refused: %.300s\n", w->head);
      exit(2);
    }
    long used = end + 4 - (char *)w->head - before;
    w->is_up = 1, w->headed = 0, at += used, size -= used;
  }
  int was = w->greeted >= greeting && w->is_up == 2;
  feed(w, at, size);
  if (was || w->greeted < greeting) return 0;
  w->is_up = 2;
  return 1;
}

static int by_size(const void *a, const void *b) {
  float d = *(const float *)a - *(const float *)b;
  return d < 0 ? -1 : d > 0;
}

static double at_share(double share) { return samples ? latencies[(long)(samples * share)] : 0; }

int main(int argc, char **argv) {
  if (argc < 6) return fprintf(stderr, "see the head of the source\n"), 2;
  port = atoi(argv[1]), count = atoi(argv[3]), groups = atoi(argv[4]), path = argv[5];
  for (int i = 6; i < argc; i++) {
    int known = sscanf(argv[i], "greeting=%d", &greeting) == 1 || sscanf(argv[i], "stopped=%d", &stopped) == 1 ||
                sscanf(argv[i], "spin=%d", &spin) == 1 || sscanf(argv[i], "churn=%ld", &churn) == 1 ||
                sscanf(argv[i], "window=%d", &window) == 1;
    if (!known) return fprintf(stderr, "unknown: %s\n", argv[i]), 2;
  }
  watchers = calloc(count, sizeof *watchers), arrived = calloc(groups, sizeof *arrived), reading = calloc(groups, sizeof *reading);
  latencies = malloc(SAMPLES * sizeof *latencies);
  for (int i = 0; i < count; i++) reading[i / (count / groups) % groups] += i < count - stopped;
  int ep = epoll_create1(0);
  struct epoll_event found[512];
  uint64_t began = now_ns();
  if (churn) control = dial(atoi(argv[2]), -1); /* the server samples its memory meanwhile */
  for (int begun = 0; churn ? up < churn : up < count;) {
    while (begun - up < (churn ? count : AT_ONCE) && (churn ? begun < churn : begun < count)) come(ep, begun % count, begun), begun++;
    int n = epoll_wait(ep, found, 512, 20000);
    if (n <= 0) return fprintf(stderr, "stalled: %d of %d are up\n", up, count), 3;
    for (int i = 0; i < n; i++) {
      Watcher *w = found[i].data.ptr;
      if (!w->is_open || !hear(w)) continue;
      up++;
      if (churn) {
        /* Its place is taken again at once: the number stays below `begun - up` of them. */
        go(w, up);
        if (begun < churn) come(ep, (int)(w - watchers), begun), begun++;
      } else if (w->stopped) {
        epoll_ctl(ep, EPOLL_CTL_DEL, w->fd, 0);
      }
    }
  }
  double handshakes = (now_ns() - began) / 1e9;
  if (churn) {
    printf("{\"came\":%d,\"seconds\":%.2f,\"lost\":%ld}\n", up, handshakes, lost);
    return 0;
  }
  usleep(200000);
  control = dial(atoi(argv[2]), -1);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0};
  epoll_ctl(ep, EPOLL_CTL_ADD, control, &e);
  for (int going = 1; going && control >= 0;) {
    int n = epoll_wait(ep, found, 512, spin ? 0 : 1000);
    for (int i = 0; i < n; i++) {
      char byte[64];
      Watcher *w = found[i].data.ptr;
      if (w && w->is_open) hear(w);
      if (!w) going = recv(control, byte, sizeof byte, 0) > 0, samples = going ? 0 : samples;
    }
  }
  qsort(latencies, samples, sizeof *latencies, by_size);
  printf("{\"handshakes_s\":%.2f,\"messages\":%ld,\"pings\":%ld,\"lost\":%ld,\"samples\":%ld,\"p10\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f}\n",
         handshakes, messages, pings, lost, samples, at_share(.1), at_share(.5), at_share(.9), at_share(.99));
  return 0;
}

#include <HostClient.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

HostSerial Serial;
static uint8_t pins[32];

static uint64_t elapsedUs() {
  static uint64_t start;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t us = now.tv_sec * 1000000ull + now.tv_nsec / 1000;
  if (start == 0) start = us;
  return us - start;
}

uint32_t millis() { return (uint32_t)(elapsedUs() / 1000); }
uint32_t micros() { return (uint32_t)elapsedUs(); }
void delay(uint32_t ms) { usleep(ms * 1000); }
void yield() {}
void pinMode(uint8_t, uint8_t) {}
void digitalWrite(uint8_t pin, uint8_t value) { pins[pin & 31] = value; }
int digitalRead(uint8_t pin) { return pins[pin & 31]; }

int analogRead(uint8_t) {
  static const int value = atoi(hostSetting("HOST_ANALOG", "-1"));
  return value >= 0 ? value : 512 + (int)(elapsedUs() / 1000 % 7);
}

uint32_t hostRandom() {
  uint32_t out = 0;
  if (getrandom(&out, sizeof out, 0) != sizeof out) out = (uint32_t)elapsedUs() ^ (uint32_t)getpid();
  return out;
}

const char *hostSetting(const char *name, const char *otherwise) {
  const char *const value = getenv(name);
  return value ? value : otherwise;
}

size_t Print::print(long number) {
  char text[24];
  snprintf(text, sizeof text, "%ld", number);
  return print(text);
}

static int waiting(int file) {
  int bytes = 0;
  return ioctl(file, FIONREAD, &bytes) == 0 ? bytes : 0;
}

void HostSerial::begin(uint32_t) {}

int HostSerial::available() {
  // the other end is gone: a board without a cable would run on, a program would never end
  pollfd in = {0, POLLIN, 0};
  if (poll(&in, 1, 0) > 0 && waiting(0) == 0) exit(0);
  return waiting(0);
}

int HostSerial::read() {
  uint8_t byte;
  return waiting(0) > 0 && ::read(0, &byte, 1) == 1 ? byte : -1;
}

int HostSerial::peek() { return -1; }

size_t HostSerial::write(const uint8_t *bytes, size_t length) {
  size_t sent = 0;
  while (sent < length) {
    const ssize_t now = ::write(1, bytes + sent, length - sent);
    if (now <= 0) break;
    sent += now;
  }
  return sent;
}

int HostClient::connect(const char *host, uint16_t port) {
  stop();
  addrinfo hints = {}, *found;
  hints.ai_socktype = SOCK_STREAM;
  char service[8];
  snprintf(service, sizeof service, "%u", port);
  if (getaddrinfo(host, service, &hints, &found) != 0) return 0;
  socket_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool isConnected = socket_ >= 0 && ::connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
  freeaddrinfo(found);
  if (!isConnected) {
    stop();
    return 0;
  }
  const int one = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  isDead_ = false;
  return 1;
}

size_t HostClient::write(const uint8_t *bytes, size_t length) {
  size_t sent = 0;
  while (socket_ >= 0 && sent < length) {
    const ssize_t now = ::send(socket_, bytes + sent, length - sent, MSG_NOSIGNAL);
    if (now <= 0) {
      isDead_ = true;
      break;
    }
    sent += now;
  }
  return sent;
}

int HostClient::available() {
  if (socket_ < 0) return 0;
  const int bytes = waiting(socket_);
  if (bytes == 0) {
    // nothing to read may also be the end
    char byte;
    const ssize_t got = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)) isDead_ = true;
  }
  return bytes;
}

int HostClient::read() {
  uint8_t byte;
  return read(&byte, 1) == 1 ? byte : -1;
}

int HostClient::read(uint8_t *bytes, size_t length) {
  const ssize_t got = socket_ < 0 ? -1 : recv(socket_, bytes, length, MSG_DONTWAIT);
  if (got == 0) isDead_ = true;
  return got > 0 ? (int)got : -1;
}

int HostClient::peek() {
  uint8_t byte;
  return socket_ >= 0 && recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1 ? byte : -1;
}

void HostClient::stop() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
  isDead_ = true;
}

uint8_t HostClient::connected() { return socket_ >= 0 && (available() > 0 || !isDead_); }

int main() {
  setvbuf(stdout, 0, _IONBF, 0);
  setup();
  for (;;) loop();
}

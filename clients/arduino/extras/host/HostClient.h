// A TCP connection of Linux as an Arduino Client.
#pragma once
#include <Client.h>

class HostClient : public Client {
 public:
  HostClient() : socket_(-1), isDead_(true) {}
  ~HostClient() { stop(); }
  int connect(IPAddress, uint16_t) override { return 0; }
  int connect(const char *host, uint16_t port) override;
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *bytes, size_t length) override;
  int available() override;
  int read() override;
  int read(uint8_t *bytes, size_t length) override;
  int peek() override;
  void flush() override {}
  void stop() override;
  uint8_t connected() override;
  operator bool() override { return connected(); }

 private:
  int socket_;
  bool isDead_;
};

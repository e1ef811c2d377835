// A serial line as a network: MQTT goes straight over it, to a bridge that listens to MQTT on serial lines.
#pragma once
#include <Client.h>

class SkeinUart : public Client {
 public:
  explicit SkeinUart(Stream &io) : io_(io), isOpen_(false) {}
  int connect(IPAddress, uint16_t) override { return isOpen_ = true; }
  int connect(const char *, uint16_t) override { return isOpen_ = true; }
  size_t write(uint8_t byte) override { return io_.write(byte); }
  size_t write(const uint8_t *bytes, size_t length) override {
    for (size_t at = 0; at < length; at++) io_.write(bytes[at]);
    return length;
  }
  int available() override { return io_.available(); }
  int read() override { return io_.read(); }
  int read(uint8_t *bytes, size_t length) override {
    size_t got = 0;
    while (got < length && io_.available() > 0) bytes[got++] = (uint8_t)io_.read();
    return (int)got;
  }
  int peek() override { return io_.peek(); }
  void flush() override {}
  void stop() override { isOpen_ = false; }
  uint8_t connected() override { return isOpen_; }
  operator bool() override { return isOpen_; }

 private:
  Stream &io_;
  bool isOpen_;
};

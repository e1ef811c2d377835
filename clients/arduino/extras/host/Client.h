// Arduino's interface of a network connection, as libraries see it.
#pragma once
#include <Arduino.h>

class IPAddress {};

class Client : public Stream {
 public:
  virtual int connect(IPAddress ip, uint16_t port) = 0;
  virtual int connect(const char *host, uint16_t port) = 0;
  using Print::write;
  virtual int read(uint8_t *bytes, size_t length) = 0;
  using Stream::read;
  virtual void flush() = 0;
  virtual void stop() = 0;
  virtual uint8_t connected() = 0;
  virtual operator bool() = 0;
};

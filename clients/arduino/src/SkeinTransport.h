// What carries messages: SkeinLink over a serial line, SkeinMqtt over a network. Each has one buffer for what comes and one
// for what goes.
#pragma once
#include "SkeinMessage.h"

// Numbers of messages: the first byte of a frame, the last level of a topic.
enum SkeinType : uint8_t {
  SKEIN_HELLO = 0x01,
  SKEIN_WELCOME = 0x02,
  SKEIN_CAPS = 0x03,
  SKEIN_STATE = 0x04,
  SKEIN_PING = 0x05,
  SKEIN_TELE = 0x10,
  SKEIN_ACK = 0x11,
  SKEIN_CMD = 0x20,
  SKEIN_RESULT = 0x21,
  SKEIN_INFER = 0x30,
  SKEIN_CHUNK = 0x31,
  SKEIN_CREDIT = 0x32,
  SKEIN_FAIL = 0x33,
  SKEIN_ACCEPT = 0x34,
  SKEIN_CANCEL = 0x35,
  SKEIN_PROMPT = 0x36,
  SKEIN_BYE = 0x40,
  SKEIN_CLASS = 0x41,
  SKEIN_LOG = 0x7f
};

class SkeinTransport {
 public:
  // The message that poll() found; valid until the next poll().
  uint8_t type;
  const uint8_t *body;
  uint16_t length;
  // Where the next message is written before send().
  uint8_t *out;
  uint16_t outMax;
  // Largest message that can come, as `hello` tells it.
  uint16_t rx;
  // One more with each connection: what was said before is forgotten at the other end.
  uint8_t connections;
  const bool isMqtt;
  // What was lost on its way here, by noise and by size.
  uint16_t broken, oversized;

  // Takes what came; true with each whole message. Does not wait.
  virtual bool poll() = 0;
  // Sends the first `bytes` of `out` as a message.
  virtual void send(uint8_t type, uint16_t bytes) = 0;

 protected:
  SkeinTransport(bool isMqtt)
      : type(0), body(0), length(0), connections(0), isMqtt(isMqtt), broken(0), oversized(0) {}
};

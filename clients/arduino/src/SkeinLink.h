// The serial link: 0x00 COBS(type, number, CBOR, CRC-16) 0x00 over any Stream.
#pragma once
#include "SkeinTransport.h"

#ifndef SKEIN_LINK_BYTES
#ifdef __AVR__
#define SKEIN_LINK_BYTES 96
#else
#define SKEIN_LINK_BYTES 250
#endif
#endif

class SkeinLinkBase : public SkeinTransport {
 public:
  bool poll() override;
  void send(uint8_t type, uint16_t bytes) override;

 protected:
  SkeinLinkBase(Stream &io, uint8_t *in, uint8_t inBytes, uint8_t *room, uint8_t outBytes);

 private:
  Stream &io_;
  uint8_t *const in_;
  uint8_t *const room_;
  const uint8_t inBytes_;
  uint8_t got_, left_, code_, number_;
  bool isFirst_, isOver_;

  void take(uint8_t byte);
  bool finish();
};

// `InBytes` and `OutBytes`: of one frame, 4 more than its message. At most 253.
template <uint8_t InBytes = SKEIN_LINK_BYTES, uint8_t OutBytes = SKEIN_LINK_BYTES>
class SkeinLinkOf : public SkeinLinkBase {
 public:
  explicit SkeinLinkOf(Stream &io) : SkeinLinkBase(io, in_, InBytes, room_, OutBytes) {}

 private:
  static_assert(InBytes <= 253 && OutBytes <= 253 && InBytes >= 32 && OutBytes >= 32, "frames have 32 to 253 bytes");
  uint8_t in_[InBytes];
  uint8_t room_[OutBytes];
};

typedef SkeinLinkOf<> SkeinLink;

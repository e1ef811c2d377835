#include "SkeinLink.h"

#ifdef __AVR__
#include <util/crc16.h>
static inline uint16_t crcOf(uint16_t crc, uint8_t byte) { return _crc_ccitt_update(crc, byte); }
#else
static uint16_t crcOf(uint16_t crc, uint8_t byte) {
  byte ^= (uint8_t)crc;
  byte ^= (uint8_t)(byte << 4);
  return (uint16_t)((((uint16_t)byte << 8) | (crc >> 8)) ^ (uint8_t)(byte >> 4) ^ ((uint16_t)byte << 3));
}
#endif

static uint16_t checksum(const uint8_t *bytes, uint8_t length) {
  uint16_t crc = 0xffff;
  while (length--) crc = crcOf(crc, *bytes++);
  return crc;
}

SkeinLinkBase::SkeinLinkBase(Stream &io, uint8_t *in, uint8_t inBytes, uint8_t *room, uint8_t outBytes)
    : SkeinTransport(false), io_(io), in_(in), room_(room), inBytes_(inBytes), got_(0), left_(0), code_(0xff), number_(0),
      isFirst_(true), isOver_(false) {
  rx = inBytes - 4;
  out = room + 2;
  outMax = outBytes - 4;
}

void SkeinLinkBase::send(uint8_t type, uint16_t bytes) {
  uint8_t end = (uint8_t)bytes + 2;
  room_[0] = type;
  room_[1] = number_++;
  const uint16_t crc = checksum(room_, end);
  room_[end++] = (uint8_t)crc;
  room_[end++] = (uint8_t)(crc >> 8);
  io_.write((uint8_t)0);  // ends what noise began
  for (uint8_t at = 0;; at++) {
    uint8_t block = at;
    while (block < end && room_[block]) block++;
    io_.write((uint8_t)(block - at + 1));
    while (at < block) io_.write(room_[at++]);
    if (at >= end) break;
  }
  io_.write((uint8_t)0);
}

void SkeinLinkBase::take(uint8_t byte) {
  if (got_ < inBytes_) in_[got_++] = byte;
  else isOver_ = true;
}

// At a zero: whether what came since the last one is a frame.
bool SkeinLinkBase::finish() {
  const uint8_t got = got_;
  const bool isWhole = left_ == 0 && !isFirst_, isOver = isOver_, isEmpty = isFirst_;
  got_ = left_ = 0;
  code_ = 0xff;
  isFirst_ = true;
  isOver_ = false;
  if (isEmpty) return false;
  if (isOver) {
    oversized++;
    return false;
  }
  // the checksum of what has its own checksum behind it is 0
  if (!isWhole || got < 4 || checksum(in_, got) != 0) {
    broken++;
    return false;
  }
  type = in_[0];
  body = in_ + 2;
  length = got - 4;
  return true;
}

bool SkeinLinkBase::poll() {
  while (io_.available() > 0) {
    const uint8_t byte = (uint8_t)io_.read();
    if (byte == 0) {
      if (finish()) return true;
    } else if (left_ > 0) {
      take(byte);
      left_--;
    } else {
      // a block of 254 stands for no zero
      if (code_ != 0xff) take(0);
      isFirst_ = false;
      code_ = byte;
      left_ = byte - 1;
    }
  }
  return false;
}

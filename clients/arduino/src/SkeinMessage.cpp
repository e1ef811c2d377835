#include "SkeinMessage.h"

// Bytes of numbers are taken from memory, which is shorter than to shift them.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "every board that Arduino has");

void SkeinWriter::begin(uint8_t *room, uint16_t bytes, uint8_t fields) {
  room_ = room;
  bytes_ = bytes;
  length = 0;
  isOver = false;
  list(fields);
}

void SkeinWriter::put(uint8_t byte) {
  if (length < bytes_) room_[length++] = byte;
  else isOver = true;
}

void SkeinWriter::head(uint8_t major, uint32_t value) {
  uint8_t bytes = value < 24 ? 0 : value < 256 ? 1 : value < 65536UL ? 2 : 4;
  if (bytes == 0) return put(major | (uint8_t)value);
  put(major | (bytes == 1 ? 24 : bytes == 2 ? 25 : 26));
  while (bytes--) put(((const uint8_t *)&value)[bytes]);
}

void SkeinWriter::text(const SkeinText &text, uint16_t from, uint16_t bytes) {
  head(0x60, bytes);
  while (bytes--) put((uint8_t)text[from++]);
}

void SkeinWriter::value(const SkeinValue &value) {
  switch (value.type) {
    case SkeinValue::Integer:
      if (value.integer < 0) head(0x20, ~(uint32_t)value.integer);
      else number(value.integer);
      break;
    case SkeinValue::Boolean:
      put(value.integer ? 0xf5 : 0xf4);
      break;
    case SkeinValue::Real:
      put(0xfa);
      for (uint8_t at = 4; at--;) put(((const uint8_t *)&value.real)[at]);
      break;
    case SkeinValue::Text:
      text(SkeinText(value.text), 0, value.length);
      break;
    default:
      null();
  }
}

static uint32_t bigEndian(const uint8_t *from, uint8_t bytes) {
  uint32_t out = 0;
  while (bytes--) out = (out << 8) | *from++;
  return out;
}

// A float of 2, 4 or 8 bytes, of which a board has that of 4. What is too small for it is 0, what is too large infinite.
static void readReal(SkeinValue &value, uint8_t bytes, const uint8_t *from) {
  uint32_t bits;
  if (bytes == 4) bits = bigEndian(from, 4);
  else {
    // behind the sign: 5 bits of exponent and 10 more, or 11 and 52
    const uint8_t high = from[0] & 0x7f;
    int16_t exponent;
    if (bytes == 2) {
      exponent = high >> 2;
      if (exponent) exponent += 112;
      bits = (uint32_t)(((high & 3) << 8) | from[1]) << 13;
    } else {
      exponent = (int16_t)(((uint16_t)high << 4) | (from[1] >> 4)) - 896;
      // rounded; a carry goes on into the exponent, as it must
      bits = ((bigEndian(from + 1, 4) & 0x0fffffffUL) + 16) >> 5;
    }
    if (exponent <= 0) bits = 0;
    else if (exponent >= 255) bits = 0x7f800000UL;
    else bits += (uint32_t)exponent << 23;
    if (from[0] & 0x80) bits |= 0x80000000UL;
  }
  value.type = SkeinValue::Real;
  memcpy(&value.real, &bits, 4);
}

void skeinRead(const uint8_t *body, uint16_t length, SkeinValue *fields, uint8_t fieldsMax) {
  memset(fields, 0, fieldsMax * sizeof *fields);
  const uint8_t *const end = body + length;
  // a list of less than 24 fields, as no message has more
  if (body == end || (*body & 0xe0) != 0x80) return;
  uint8_t left = *body++ & 0x1f;
  if (left > fieldsMax) left = fieldsMax;
  for (; left > 0 && body < end; left--, fields++) {
    const uint8_t major = *body & 0xe0, info = *body & 0x1f;
    const uint8_t bytes = info < 24 ? 0 : info > 27 ? 255 : 1 << (info - 24);
    const uint8_t *const from = ++body;
    if (bytes > (uint16_t)(end - body)) return;
    body += bytes;
    if (major == 0xe0) {
      if (bytes >= 2) readReal(*fields, bytes, from);
      else if (info == 20 || info == 21) fields->setBoolean(info == 21);
      continue;
    }
    // of 8 bytes the low 4: no message to a board has larger numbers in it that matter
    const uint32_t argument = bytes == 0 ? info : bigEndian(from, bytes);
    if (major <= 0x20) fields->setInteger((int32_t)(major ? ~argument : argument));
    else if (major == 0x60 && argument <= (uint16_t)(end - body) && argument < 256) {
      fields->setText((const char *)body, (uint8_t)argument);
      body += fields->length;
    } else return;  // lists and maps are in no message to a board
  }
}

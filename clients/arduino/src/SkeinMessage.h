// Messages as bytes: CBOR arrays, as docs/DEVICE-PROTOCOL.md has them. No heap; nothing is read beyond its end.
#pragma once
#include <Arduino.h>

// A value of a sensor or an actuator. Text is not ended by a zero and lives only as long as the call that has it.
struct SkeinValue {
  enum Type : uint8_t { None, Integer, Real, Boolean, Text };
  Type type;
  uint8_t length;  // of text
  union {
    int32_t integer;  // and Boolean: 0 or 1
    float real;
    const char *text;
  };

  SkeinValue() = default;  // None where it is static, or made by `SkeinValue()`
  void setInteger(int32_t value) { type = Integer; integer = value; }
  void setReal(float value) { type = Real; real = value; }
  // `value` / 2^`shift`, shift at most 100: taken from the exponent, since multiplying reals takes 400 bytes of code on AVR.
  void setReal(int32_t value, uint8_t shift) {
    setReal((float)value);
    if (value) integer -= (int32_t)shift << 23;
  }
  void setBoolean(bool value) { type = Boolean; integer = value; }
  void setText(const char *value, uint8_t bytes) { type = Text; text = value; length = bytes; }
  // What is not of the type asked for is 0.
  // Of a real number the sign does not count: as bits, since comparing reals takes 80 bytes of code.
  bool asBoolean() const { return type != Text && (type == Real ? (uint32_t)integer << 1 : (uint32_t)integer) != 0; }
  int32_t asInteger() const { return type == Real ? (int32_t)real : type == Text ? 0 : integer; }
  float asReal() const { return type == Real ? real : type == Text ? 0 : (float)integer; }
};

// Text in flash (`F("...")`) or in memory. Without a text it is `SkeinText()`.
struct SkeinText {
  const char *at;
  bool isFlash;

  SkeinText() = default;
  SkeinText(const char *text) : at(text), isFlash(false) {}
  SkeinText(const __FlashStringHelper *text) : at((const char *)text), isFlash(true) {}
  char operator[](uint16_t index) const { return isFlash ? (char)pgm_read_byte(at + index) : at[index]; }
  uint16_t length() const { return !at ? 0 : isFlash ? strlen_P(at) : strlen(at); }
};

class SkeinWriter {
 public:
  uint16_t length;
  bool isOver;  // it did not fit

  void begin(uint8_t *room, uint16_t bytes, uint8_t fields);
  void put(uint8_t byte);
  void list(uint8_t items) { head(0x80, items); }
  void number(uint32_t value) { head(0x00, value); }
  void digit(uint8_t value) { put(value); }  // a number under 24
  void null() { put(0xf6); }
  void text(const SkeinText &text, uint16_t from, uint16_t bytes);
  void text(const SkeinText &text) { this->text(text, 0, text.length()); }
  void value(const SkeinValue &value);

 private:
  uint8_t *room_;
  uint16_t bytes_;
  void head(uint8_t major, uint32_t value);
};

// Reads up to `fieldsMax` fields of the message in `body` into `fields`; those that are absent, or behind what cannot be read,
// are None. Texts stay in `body`.
void skeinRead(const uint8_t *body, uint16_t length, SkeinValue *fields, uint8_t fieldsMax);

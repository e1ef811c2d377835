// Enough of Arduino's interface that sketches run as programs of Linux: for tests with hundreds of boards, and to try a sketch
// without one. Serial is standard input and output.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SKEIN_ON_HOST 1
#define HIGH 1
#define LOW 0
#define INPUT 0
#define OUTPUT 1
#define INPUT_PULLUP 2
#define LED_BUILTIN 13
#define A0 14
#define PROGMEM
#define PSTR(text) (text)
#define pgm_read_byte(at) (*(const uint8_t *)(at))
#define pgm_read_dword(at) (*(const uint32_t *)(at))
#define strlen_P strlen
#define memcpy_P memcpy
#define memcmp_P memcmp

class __FlashStringHelper;
#define F(text) (reinterpret_cast<const __FlashStringHelper *>(text))

uint32_t millis();
uint32_t micros();
void delay(uint32_t ms);
void yield();
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
int digitalRead(uint8_t pin);
// 512 with some noise; HOST_ANALOG in the environment sets it.
int analogRead(uint8_t pin);
uint32_t hostRandom();
// Of the environment, or `otherwise`.
const char *hostSetting(const char *name, const char *otherwise);

class Print {
 public:
  virtual ~Print() {}
  virtual size_t write(uint8_t byte) = 0;
  virtual size_t write(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; at++) write(bytes[at]);
    return length;
  }
  size_t print(const char *text) { return write((const uint8_t *)text, strlen(text)); }
  size_t print(const __FlashStringHelper *text) { return print((const char *)text); }
  size_t print(long number);
  size_t println() { return print("\n"); }
  template <class T>
  size_t println(T value) {
    return print(value) + println();
  }
};

class Stream : public Print {
 public:
  virtual int available() = 0;
  virtual int read() = 0;
  virtual int peek() = 0;
};

class HostSerial : public Stream {
 public:
  void begin(uint32_t baud);
  int available() override;
  int read() override;
  int peek() override;
  size_t write(uint8_t byte) override { return write(&byte, 1); }
  size_t write(const uint8_t *bytes, size_t length) override;
};
extern HostSerial Serial;

void setup();
void loop();

// What differs from board to board: a number for each start, and idling.
#include "Skein.h"

#if defined(__AVR__)
#include <avr/eeprom.h>
#include <avr/sleep.h>

uint32_t skeinBoot() {
  uint32_t *const at = (uint32_t *)(E2END - 3);
  const uint32_t boot = eeprom_read_dword(at) + 1;
  eeprom_update_dword(at, boot);
  return boot;
}

void skeinRest() {
  set_sleep_mode(SLEEP_MODE_IDLE);
  sleep_mode();
}

#elif defined(ESP8266) || defined(ESP32)
#ifdef ESP32
#include <esp_random.h>
uint32_t skeinBoot() { return esp_random(); }
#else
uint32_t skeinBoot() { return RANDOM_REG32; }
#endif
void skeinRest() { delay(1); }

#elif defined(ARDUINO_ARCH_RP2040)
#include <pico/rand.h>
uint32_t skeinBoot() { return get_rand_32(); }
void skeinRest() { delay(1); }

#elif defined(SKEIN_ON_HOST)
uint32_t skeinBoot() { return hostRandom(); }
void skeinRest() { delay(1); }

#else
// no source of chance is known for this board: two starts differ by what floats at a pin
uint32_t skeinBoot() {
  uint32_t boot = micros();
  for (uint8_t turn = 0; turn < 32; turn++) boot = boot * 1664525UL + (uint32_t)analogRead(A0) + micros();
  return boot;
}
void skeinRest() { yield(); }
#endif

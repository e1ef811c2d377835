#include "SkeinClaim.h"

// The bridge answers one claim for each approval: an answer that is lost is asked for again.
#ifndef SKEIN_CLAIM_MS
#define SKEIN_CLAIM_MS 5000
#endif
static const char ROOT[] PROGMEM = "skein/v1/claim/", UP[] PROGMEM = "/up", DOWN[] PROGMEM = "/down", NONE[] PROGMEM = "";
static const uint8_t GRANT = 0x51, CLAIM = 0x50;

void SkeinClaim::begin(uint32_t chance, SkeinText firmware, SkeinText boardClass) {
  firmware_ = firmware;
  class_ = boardClass;
  // starts of a board are counted on AVR: mixed, so that its codes do not go up by one
  uint32_t digits = (chance * 2654435761UL >> 8) % 1000000UL;
  for (uint8_t at = 6; at--; digits /= 10) code[at] = (char)('0' + digits % 10);
}

uint8_t *SkeinClaim::topic(uint8_t *at, bool isUp, uint8_t) { return putTopic(at, ROOT, isUp ? UP : DOWN, NONE); }

// User `claim`, without a password and without a last will.
uint8_t *SkeinClaim::identity(uint8_t *at) {
  *at++ = 0x82;
  *at++ = 0;
  *at++ = KEEP_ALIVE_S;
  at = putText(at, SkeinMqttBase::id());
  return putText(at, "claim");
}

uint8_t SkeinClaim::typeOf(const uint8_t *level, uint8_t length) {
  return length == 4 && memcmp_P(level, DOWN + 1, 4) == 0 ? GRANT : 0;
}

void SkeinClaim::say() {
  saidMs_ = millis();
  SkeinWriter claim;
  claim.begin(out, outMax, 4);
  claim.digit(1);
  claim.text(code);
  claim.text(firmware_);
  claim.text(class_);
  if (!claim.isOver) send(CLAIM, claim.length);
}

bool SkeinClaim::loop() {
  if (isGranted()) return false;
  while (poll()) {
    SkeinValue fields[2];
    skeinRead(body, length, fields, 2);
    const bool isWhole = fields[0].type == SkeinValue::Text && fields[1].type == SkeinValue::Text &&
                         fields[0].length < sizeof id && fields[1].length < sizeof key && fields[0].length > 0;
    if (!isWhole) continue;
    memcpy(key, fields[1].text, fields[1].length);
    memcpy(id, fields[0].text, fields[0].length);
    close();
    return true;
  }
  if (connections == connection_ && millis() - saidMs_ < SKEIN_CLAIM_MS) return false;
  connection_ = connections;
  if (isConnected()) say();
  return false;
}

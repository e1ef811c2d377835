// A board that was flashed without a credential asks for one over MQTT: it shows a code, its owner approves that
// (`skein devices approve CODE`), and it is granted an id and a key, which it keeps and gives to SkeinMqtt.
//
//   static SkeinClaim claim(network, SKEIN_HOST, SKEIN_PORT, chip);
//   static SkeinMqtt mqtt(network, SKEIN_HOST, SKEIN_PORT, claim.id, claim.key);
//   void setup() { if (!load(claim.id, claim.key)) claim.begin(skeinBoot(), F("fw 1"), F("esp32")); }
//   void loop() { if (claim.isGranted()) skein.loop(); else if (claim.loop()) save(claim.id, claim.key); }
#pragma once
#include "SkeinMqtt.h"

class SkeinClaim : public SkeinMqttOf<160, 128> {
 public:
  // What was granted, or is read from where the board kept it; empty texts until then.
  char id[24], key[24];
  // Six digits, to be shown to the owner; made by begin().
  char code[7];

  // `chip`: what the board is told apart by, such as the number of its processor: 1 to 32 letters, digits and dashes.
  SkeinClaim(Client &client, const char *host, uint16_t port, const char *chip)
      : SkeinMqttOf<160, 128>(client, host, port, chip, "") {}

  // `chance` differs from board to board, as skeinBoot() does. At most 16 and 12 bytes of text, shown to the owner.
  void begin(uint32_t chance, SkeinText firmware, SkeinText boardClass);
  bool isGranted() const { return id[0] != 0; }
  // To be called often until isGranted(); true once, when it has just been. The connection is closed then.
  bool loop();

 protected:
  uint8_t *topic(uint8_t *at, bool isUp, uint8_t type) override;
  uint8_t *identity(uint8_t *at) override;
  uint8_t typeOf(const uint8_t *level, uint8_t length) override;

 private:
  SkeinText firmware_, class_;
  uint32_t saidMs_;
  uint8_t connection_;

  void say();
};

// A board that is flashed without a credential: it shows a code at its serial monitor, and joins when its owner has typed
// `skein devices approve CODE`. What it was granted it keeps, where the board has a file system or an EEPROM: see below.
// It also compiles as a program of Linux: extras/host/build.sh.
#include <Skein.h>
#include <SkeinClaim.h>

#if defined(ESP8266)
#include <ESP8266WiFi.h>
static WiFiClient network;
#elif defined(SKEIN_ON_HOST)
#include <HostClient.h>
static HostClient network;
#else
#include <WiFi.h>
static WiFiClient network;
#endif
#ifdef ESP32
#include <Preferences.h>
#endif

#ifndef SKEIN_ON_HOST
#define SKEIN_HOST "192.168.1.10"
#define SKEIN_PORT 1883
#define SKEIN_WIFI_NAME "…"
#define SKEIN_WIFI_PASSWORD "…"
#else
#include "skein_secrets.h"
#endif

// Each board has one of its own: give it one where the board has no number that this sketch can read.
static char chip[33] = "board";
static SkeinClaim claim(network, SKEIN_HOST, SKEIN_PORT, chip);
static SkeinMqtt mqtt(network, SKEIN_HOST, SKEIN_PORT, claim.id, claim.key);
static Skein skein(mqtt);

static void readLight(SkeinValue &value) { value.setInteger(analogRead(A0)); }

// Without a place for it the board claims anew after each start, and needs a new approval.
static void keep(bool isWriting) {
#ifdef ESP32
  Preferences kept;
  kept.begin("skein");
  if (isWriting) {
    kept.putString("id", claim.id);
    kept.putString("key", claim.key);
  } else {
    kept.getString("id", claim.id, sizeof claim.id);
    kept.getString("key", claim.key, sizeof claim.key);
  }
#else
  (void)isWriting;
#endif
}

void setup() {
  Serial.begin(115200);
#ifdef SKEIN_WIFI_NAME
  WiFi.begin(SKEIN_WIFI_NAME, SKEIN_WIFI_PASSWORD);
  while (WiFi.status() != WL_CONNECTED) delay(100);
#endif
#ifdef ESP32
  snprintf(chip, sizeof chip, "%012llx", (unsigned long long)ESP.getEfuseMac());
#elif defined(ESP8266)
  snprintf(chip, sizeof chip, "%08x", (unsigned)ESP.getChipId());
#endif
  keep(false);
  if (!claim.isGranted()) {
    claim.begin(skeinBoot(), F("claim 1.0"), F("wifi"));
    Serial.print(F("let this board in with: skein devices approve "));
    Serial.println(claim.code);
  }
  skein.describe(F("claim 1.0"), F("wifi"));
  skein.sensor(F("ri:light"), readLight);
  skein.every(5000);
  skein.begin(skeinBoot());
}

void loop() {
  skeinRest();
  if (claim.isGranted()) skein.loop();
  else if (claim.loop()) keep(true);
}

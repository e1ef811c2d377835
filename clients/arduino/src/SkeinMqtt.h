// Messages over MQTT 3.1.1, by any Arduino Client: Wi-Fi, Ethernet, GSM. QoS 0 both ways, a clean session, one buffer each
// way. A packet that is larger than its buffer is read past and counted; the connection stands.
#pragma once
#include <Client.h>
#include "SkeinTransport.h"

#ifndef SKEIN_MQTT_BYTES
#ifdef __AVR__
#define SKEIN_MQTT_BYTES 160
#else
#define SKEIN_MQTT_BYTES 1024
#endif
#endif

class SkeinMqttBase : public SkeinTransport {
 public:
  bool poll() override;
  void send(uint8_t type, uint16_t bytes) override;
  bool isConnected() const { return stage_ == Open; }
  // Return code of the broker's last refusal (4 and 5: the id or the key is wrong), 0 for none.
  uint8_t refused() const { return refused_; }
  // Attempts to connect, and packets that could not be sent.
  uint16_t attempts, unsent;

 protected:
  // Room for the topic and the heads of a packet, before the message.
  static const uint8_t HEAD_BYTES = 64;
  static const uint8_t KEEP_ALIVE_S = 30;
  SkeinMqttBase(Client &client, const char *host, uint16_t port, const char *id, const char *key, uint8_t *in, uint16_t inBytes,
                uint8_t *room, uint16_t outBytes);

  // Topic of a message, and with type 0 of all that come, with its length before it. Each gives where it ended.
  virtual uint8_t *topic(uint8_t *at, bool isUp, uint8_t type);
  // What CONNECT has behind its version: flags, keep-alive, and who this is.
  virtual uint8_t *identity(uint8_t *at);
  // Of a message, by the last level of its topic; 0 of one that is none of ours.
  virtual uint8_t typeOf(const uint8_t *level, uint8_t length);

  const char *id() const { return id_; }
  void close();
  // A text with its length before it, as MQTT has them.
  static uint8_t *putText(uint8_t *at, const char *text);
  // `root`, the id, `way` and `kind`, all but the id in flash.
  uint8_t *putTopic(uint8_t *at, const char *root, const char *way, const char *kind) const;

 private:
  enum Stage : uint8_t { Closed, Waiting, Open };
  enum Part : uint8_t { First, Length, Body };
  Client &client_;
  const char *const host_;
  const char *const id_;
  const char *const key_;
  uint8_t *const in_;
  uint8_t *const room_;
  const uint16_t port_, inBytes_;
  uint32_t left_, saidMs_, heardMs_, triedMs_, waitMs_;
  uint16_t got_;
  Stage stage_;
  Part part_;
  uint8_t first_, shift_, refused_;

  void connect();
  bool packet();
  bool publish();
  void write(const uint8_t *from, uint16_t bytes);
};

// `host`, `id` and `key` stay where they are. `InBytes`: the largest packet that can come; `OutBytes`: the largest message.
template <uint16_t InBytes = SKEIN_MQTT_BYTES, uint16_t OutBytes = SKEIN_MQTT_BYTES>
class SkeinMqttOf : public SkeinMqttBase {
 public:
  SkeinMqttOf(Client &client, const char *host, uint16_t port, const char *id, const char *key)
      : SkeinMqttBase(client, host, port, id, key, in_, InBytes, room_, OutBytes) {}

 private:
  static_assert(InBytes >= 96 && OutBytes >= 128, "a packet has a topic of some 40 bytes, and CONNECT some 150");
  uint8_t in_[InBytes];
  uint8_t room_[OutBytes + HEAD_BYTES];
};

typedef SkeinMqttOf<> SkeinMqtt;

#include "SkeinMqtt.h"

// Connecting again is tried after 1 s, then 2, 4 … 64 s, each time somewhat off: a thousand boards must not come at once.
static const uint32_t WAIT_MIN_MS = 1000, WAIT_MAX_MS = 64000, ANSWER_MS = 10000;

// Last levels of topics with the numbers of their messages.
static const char KINDS[] PROGMEM =
    "\x01" "hello\0" "\x02" "welcome\0" "\x03" "caps\0" "\x04" "state\0" "\x05" "ping\0" "\x10" "tele\0" "\x11" "ack\0"
    "\x20" "cmd\0" "\x21" "result\0" "\x30" "infer\0" "\x31" "chunk\0" "\x32" "credit\0" "\x33" "fail\0" "\x34" "accept\0"
    "\x35" "cancel\0" "\x36" "prompt\0" "\x40" "bye\0" "\x41" "class\0" "\x7f" "log\0";
static const char ROOT[] PROGMEM = "skein/v1/dev/", UP[] PROGMEM = "/up/", DOWN[] PROGMEM = "/down/";
static const char LOST[] PROGMEM = "lost", ALL[] PROGMEM = "#";

SkeinMqttBase::SkeinMqttBase(Client &client, const char *host, uint16_t port, const char *id, const char *key, uint8_t *in,
                             uint16_t inBytes, uint8_t *room, uint16_t outBytes)
    : SkeinTransport(true), attempts(0), unsent(0), client_(client), host_(host), id_(id), key_(key), in_(in), room_(room),
      port_(port), inBytes_(inBytes), left_(0), saidMs_(0), heardMs_(0), triedMs_(0), waitMs_(0), got_(0), stage_(Closed),
      part_(First), first_(0), shift_(0), refused_(0) {
  rx = inBytes;
  out = room + HEAD_BYTES;
  outMax = outBytes;
}

static uint8_t *putP(uint8_t *at, const char *text) {
  const uint8_t length = strlen_P(text);
  memcpy_P(at, text, length);
  return at + length;
}

uint8_t *SkeinMqttBase::putText(uint8_t *at, const char *text) {
  const uint16_t length = strlen(text);
  *at++ = (uint8_t)(length >> 8);
  *at++ = (uint8_t)length;
  memcpy(at, text, length);
  return at + length;
}

uint8_t *SkeinMqttBase::putTopic(uint8_t *at, const char *root, const char *way, const char *kind) const {
  uint8_t *const start = at;
  const uint8_t length = strlen(id_);
  at = putP(at + 2, root);
  memcpy(at, id_, length);
  at = putP(putP(at + length, way), kind);
  const uint16_t bytes = at - start - 2;
  start[0] = (uint8_t)(bytes >> 8);
  start[1] = (uint8_t)bytes;
  return at;
}

uint8_t *SkeinMqttBase::topic(uint8_t *at, bool isUp, uint8_t type) {
  const char *kind = KINDS;
  while (type && pgm_read_byte(kind) && pgm_read_byte(kind) != type) kind += strlen_P(kind) + 1;
  return putTopic(at, ROOT, isUp ? UP : DOWN, type ? kind + 1 : ALL);
}

// User, password, will of QoS 0 that is not retained, clean session.
uint8_t *SkeinMqttBase::identity(uint8_t *at) {
  *at++ = 0xc6;
  *at++ = 0;
  *at++ = KEEP_ALIVE_S;
  at = putText(at, id_);
  at = topic(at, true, SKEIN_STATE);
  *at++ = 0;
  *at++ = 4;
  at = putP(at, LOST);
  at = putText(at, id_);
  return putText(at, key_);
}

uint8_t SkeinMqttBase::typeOf(const uint8_t *level, uint8_t length) {
  for (const char *kind = KINDS; pgm_read_byte(kind); kind += strlen_P(kind) + 1)
    if (strlen_P(kind + 1) == length && memcmp_P(level, kind + 1, length) == 0) return pgm_read_byte(kind);
  return 0;
}

void SkeinMqttBase::write(const uint8_t *from, uint16_t bytes) {
  saidMs_ = millis();
  // a part of a packet makes nonsense of what follows
  if (client_.write(from, bytes) != bytes) {
    unsent++;
    close();
  }
}

void SkeinMqttBase::close() {
  client_.stop();
  stage_ = Closed;
}

void SkeinMqttBase::send(uint8_t type, uint16_t bytes) {
  if (stage_ != Open) {
    unsent++;
    return;
  }
  // the head is written right before the message, so that the packet goes as one
  uint8_t head[HEAD_BYTES];
  const uint8_t topicBytes = topic(head, true, type) - head;
  const uint32_t remaining = (uint32_t)topicBytes + bytes;
  uint8_t *at = out - topicBytes;
  memcpy(at, head, topicBytes);
  uint8_t lengths[4], count = 0;
  for (uint32_t rest = remaining; count == 0 || rest > 0; rest >>= 7) lengths[count++] = (rest & 0x7f) | (rest > 0x7f ? 0x80 : 0);
  at -= count;
  memcpy(at, lengths, count);
  *--at = 0x30;
  write(at, out + bytes - at);
}

void SkeinMqttBase::connect() {
  const uint32_t now = millis();
  if (attempts && now - triedMs_ < waitMs_) return;
  triedMs_ = now;
  attempts++;
  const uint32_t longer = waitMs_ < WAIT_MIN_MS ? WAIT_MIN_MS : waitMs_ * 2 > WAIT_MAX_MS ? WAIT_MAX_MS : waitMs_ * 2;
  // off by up to a quarter, by what differs from board to board
  uint16_t noise = (uint16_t)now ^ attempts * 40503u;
  for (const char *at = id_; *at; at++) noise = noise * 31 + *at;
  waitMs_ = longer - longer / 4 * (noise & 0xff) / 256;
  if (!client_.connect(host_, port_)) return;
  uint8_t *at = room_ + 5;
  at = putText(at, "MQTT");
  *at++ = 4;
  at = identity(at);
  const uint16_t bytes = at - room_ - 5;
  at = room_ + 5;
  if (bytes > 0x7f) *--at = bytes >> 7;
  *--at = (bytes & 0x7f) | (bytes > 0x7f ? 0x80 : 0);
  *--at = 0x10;
  stage_ = Waiting;
  part_ = First;
  heardMs_ = now;
  write(at, room_ + 5 + bytes - at);
}

// What came whole: whether it is a message.
bool SkeinMqttBase::packet() {
  const uint8_t kind = first_ & 0xf0;
  if (kind == 0x20 && stage_ == Waiting) {
    refused_ = got_ == 2 ? in_[1] : 255;
    if (refused_) {
      close();
      return false;
    }
    stage_ = Open;
    waitMs_ = 0;
    uint8_t *const at = room_ + 2;
    at[0] = 0;
    at[1] = 1;
    uint8_t *end = topic(at + 2, false, 0);
    *end++ = 0;
    room_[0] = 0x82;
    room_[1] = end - at;
    write(room_, end - room_);
    // the bridge knows nothing of what was said over the last connection
    connections++;
    return false;
  }
  return kind == 0x30 && stage_ == Open && publish();
}

bool SkeinMqttBase::publish() {
  const uint16_t topicBytes = got_ < 2 ? 0xffff : (uint16_t)(in_[0] << 8 | in_[1]);
  const uint8_t idBytes = first_ & 0x06 ? 2 : 0;
  // retained ones are from another time
  if (topicBytes > got_ || topicBytes + 2 + idBytes > got_ || (first_ & 1)) return false;
  const uint8_t *const end = in_ + 2 + topicBytes;
  const uint8_t *level = end;
  while (level > in_ + 2 && level[-1] != '/') level--;
  const uint8_t length = end - level;
  type = typeOf(level, length);
  if (type == 0) return false;
  body = end + idBytes;
  this->length = got_ - 2 - topicBytes - idBytes;
  return true;
}

bool SkeinMqttBase::poll() {
  const uint32_t now = millis();
  if (stage_ == Closed) {
    connect();
    return false;
  }
  while (client_.available() > 0) {
    const uint8_t byte = (uint8_t)client_.read();
    heardMs_ = now;
    bool isWhole = false;
    if (part_ == First) {
      first_ = byte;
      left_ = 0;
      got_ = shift_ = 0;
      part_ = Length;
    } else if (part_ == Length) {
      left_ |= (uint32_t)(byte & 0x7f) << shift_;
      shift_ += 7;
      if (byte < 0x80) {
        part_ = left_ ? Body : First;
        isWhole = left_ == 0;
      } else if (shift_ > 21) {
        close();
        return false;
      }
    } else {
      if (got_ < inBytes_) in_[got_] = byte;
      if (got_ < 0xffff) got_++;
      isWhole = --left_ == 0;
      if (isWhole) part_ = First;
    }
    if (!isWhole) continue;
    if (got_ > inBytes_) oversized++;
    else if (packet()) return true;
    if (stage_ == Closed) return false;
  }
  if (!client_.connected() || now - heardMs_ > (stage_ == Waiting ? ANSWER_MS : KEEP_ALIVE_S * 1500UL)) close();
  else if (stage_ == Open && (now - saidMs_ > KEEP_ALIVE_S * 500UL || (now - heardMs_ > KEEP_ALIVE_S * 500UL && now - saidMs_ > 5000))) {
    const uint8_t ping[2] = {0xc0, 0};
    write(ping, 2);
  }
  return false;
}

// What `skein devices add` prints for a board; here it comes from the environment.
#pragma once
#define SKEIN_HOST hostSetting("SKEIN_HOST", "127.0.0.1")
#define SKEIN_PORT ((uint16_t)atoi(hostSetting("SKEIN_PORT", "1883")))
#define SKEIN_DEVICE hostSetting("SKEIN_DEVICE", "host-1")
#define SKEIN_KEY hostSetting("SKEIN_KEY", "")

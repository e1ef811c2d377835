/** What a sketch includes to be a device of the mesh. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number
}

/** The text of `skein_secrets.h`. */
export const secretsHeader = (device: string, key: string, { host, port }: BrokerAddress): string =>
  `// The credential of one board. Do not publish it; \`skein devices revoke ${device}\` voids it.
#pragma once
#define SKEIN_DEVICE "${device}"
#define SKEIN_KEY "${key}"
#define SKEIN_HOST "${host}"
#define SKEIN_PORT ${port}
`

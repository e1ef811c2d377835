/** What to do with the certificate of a local authority on the machine of a client. Pure. */

/** The name that the instructions give the file. */
const FILE = 'skein-ca.crt'

export const INSTRUCTIONS = `Save it as ${FILE} on each machine whose programs shall trust this gateway, then:

  Debian, Ubuntu    sudo cp ${FILE} /usr/local/share/ca-certificates/ && sudo update-ca-certificates
  Fedora, RHEL      sudo cp ${FILE} /etc/pki/ca-trust/source/anchors/ && sudo update-ca-trust
  Arch              sudo trust anchor --store ${FILE}
  macOS             security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db ${FILE}
  Windows           certutil -user -addstore Root ${FILE}
  Firefox           Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import: ${FILE},
                    "Trust this CA to identify websites" (or about:config, security.enterprise_roots.enabled: true)
  Node.js           NODE_EXTRA_CA_CERTS=/path/to/${FILE}   (Node reads no system store by itself; or node --use-system-ca)
  Python            SSL_CERT_FILE=/path/to/${FILE}   (httpx, the openai client), REQUESTS_CA_BUNDLE=… (requests);
                    that file alone is trusted then
  curl              curl --cacert ${FILE} https://…

It can vouch for private names and addresses alone. Its fingerprint is shown by: skein trust status`

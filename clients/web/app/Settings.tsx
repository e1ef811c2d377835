import { digest, version } from 'virtual:skein-build'
import { useSignal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import { askDurable, storageHealth, type StorageHealth } from '../platform/index.ts'
import { Badge, Button, Card, Confirm, Icon, Meter, Notice, Page, Pairs, Section, Select } from '../ui/index.ts'
import { format, LANGUAGE_NAMES, LANGUAGES, language, words, type Language } from '../words/index.ts'
import type { App } from './app.ts'
import { canInstall, install } from './install.ts'
import { THEMES, themeText } from './preferences.ts'
import { State } from './Sidebar.tsx'

export function Settings({ app }: { readonly app: App }) {
  const { app: say } = words.value
  return (
    <Page title={say.pageNames.settings} description={say.settingsText} width="text">
      <Appearance app={app} />
      <Access app={app} />
      <Storage />
      {app.settings?.()}
      <SyncLink />
      <About app={app} />
    </Page>
  )
}

function Appearance({ app }: { readonly app: App }) {
  const { app: say } = words.value
  return (
    <Section title={say.appearance}>
      <Card>
        <div class="app-settings-pair">
          <Select
            label={say.theme}
            value={app.preferences.theme.value}
            options={THEMES.map((value) => ({ value, label: themeText(value) }))}
            onChange={(theme) => app.preferences.setTheme(theme)}
          />
          <Select<Language>
            label={say.language}
            value={language.value}
            options={LANGUAGES.map((value) => ({ value, label: LANGUAGE_NAMES[value] }))}
            onChange={(wanted) => void app.preferences.setLanguage(wanted)}
          />
        </div>
      </Card>
    </Section>
  )
}

function Access({ app }: { readonly app: App }) {
  const { app: say } = words.value
  const isForgetting = useSignal(false)
  const { connection, frame } = app
  // read, so that it is shown anew with the state
  const hasKey = connection.state.value !== undefined && connection.hasKey
  return (
    <Section title={say.access} description={say.accessText}>
      <Card>
        <div class="app-settings-stack">
          <Pairs
            pairs={[
              [say.coordinator, <code key="origin">{connection.origin}</code>],
              [say.state, <State key="state" app={app} />],
              [say.keyLabel, hasKey ? say.keyKept : say.keyNone],
            ]}
          />
          <div class="app-settings-actions">
            <Button icon="key" onClick={() => void (frame.opened.value = 'key')}>
              {hasKey ? say.keyChange : say.keyEnter}
            </Button>
            {hasKey && (
              <Button kind="danger" onClick={() => void (isForgetting.value = true)}>
                {say.keyForget}
              </Button>
            )}
          </div>
        </div>
      </Card>
      {isForgetting.value && (
        <Confirm
          title={say.keyForget}
          confirmLabel={say.keyForget}
          isDanger
          onConfirm={async () => void (await connection.useKey(undefined))}
          onClose={() => void (isForgetting.value = false)}
        >
          {say.keyForgetText}
        </Confirm>
      )}
    </Section>
  )
}

function Storage() {
  const { app: say } = words.value
  const [health, setHealth] = useState<StorageHealth>()
  const [isRefused, setRefused] = useState(false)
  const look = async (): Promise<void> => setHealth(await storageHealth())
  useEffect(() => void look(), [])
  const ask = async (): Promise<void> => {
    setRefused(!(await askDurable()))
    await look()
  }
  return (
    <Section title={say.storage} description={say.storageText}>
      <Card>
        <div class="app-settings-stack">
          {health !== undefined && <Durability health={health} ask={() => void ask()} />}
          {isRefused && <Notice tone="warning">{say.storageRefused}</Notice>}
          {canInstall.value && (
            <div class="app-settings-stack">
              <p>{say.installText}</p>
              <div class="app-settings-actions">
                <Button icon="download" onClick={() => void install()}>
                  {say.install}
                </Button>
              </div>
            </div>
          )}
        </div>
      </Card>
    </Section>
  )
}

function SyncLink() {
  const { app: say } = words.value
  return (
    <Section title={say.pageNames.sync} description={say.syncText}>
      <div class="app-settings-actions">
        <a class="ui-button ui-button-plain ui-button-m" href="/settings/sync">
          <Icon name="refresh" size={17} />
          {say.syncOpen}
        </a>
      </div>
    </Section>
  )
}

function Durability({ health, ask }: { readonly health: StorageHealth; readonly ask: () => void }) {
  const { app: say } = words.value
  const { isDurable, usedBytes, quotaBytes } = health
  return (
    <>
      {usedBytes !== undefined && quotaBytes !== undefined && quotaBytes > 0 && (
        <Meter
          label={say.storageUsed}
          value={usedBytes}
          max={quotaBytes}
          text={say.storageOf(format.bytes(usedBytes), format.bytes(quotaBytes))}
        />
      )}
      {isDurable === undefined ? (
        <Notice tone="info">{say.storageUnknown}</Notice>
      ) : isDurable ? (
        <Notice tone="good" title={say.storageDurable}>
          {say.storageDurableText}
        </Notice>
      ) : (
        <Notice tone="warning" title={say.storageFragile} action={{ label: say.storageAsk, onClick: ask }}>
          {say.storageFragileText}
        </Notice>
      )}
    </>
  )
}

const DIGEST_SHOWN = 12

function About({ app }: { readonly app: App }) {
  const { app: say } = words.value
  const isKept = app.update.isKept.value
  return (
    <Section title={say.about} description={say.aboutText}>
      <Card>
        <Pairs
          pairs={[
            [say.version, version],
            [say.build, <code key="build">{digest.slice(0, DIGEST_SHOWN)}</code>],
            [
              say.offlineShell,
              <Badge key="kept" tone={isKept ? 'good' : 'neutral'}>
                {isKept ? say.offlineShellYes : say.offlineShellNo}
              </Badge>,
            ],
          ]}
        />
      </Card>
    </Section>
  )
}

import { useState } from 'preact/hooks'
import { Button, Copyable, Dialog, Field } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { App } from './app.ts'
import { isHeaderText } from './connection.ts'

const MAKE_KEY = 'skein keys add browser'

/** Takes the key that the mesh asks for. */
export function KeyDialog({ app }: { readonly app: App }) {
  const { app: say } = words.value
  const [key, setKey] = useState('')
  const [error, setError] = useState<string>()
  const [isBusy, setBusy] = useState(false)
  const close = (): void => void (app.frame.opened.value = undefined)
  const save = async (): Promise<void> => {
    const text = key.trim()
    if (text === '' || !isHeaderText(text)) return setError(say.keyWrong)
    setBusy(true)
    const state = await app.connection.useKey(text)
    setBusy(false)
    if (state === 'key-needed') setError(say.keyWrong)
    else if (state === 'forbidden') setError(say.forbiddenText)
    else close()
  }
  return (
    <Dialog
      title={say.keyTitle}
      onClose={close}
      actions={
        <>
          <Button onClick={close}>{say.keyLater}</Button>
          <Button kind="primary" isBusy={isBusy} onClick={() => void save()}>
            {say.keySave}
          </Button>
        </>
      }
    >
      <p>{say.keyText}</p>
      <Copyable text={MAKE_KEY} isCommand />
      <Field
        label={say.keyLabel}
        type="password"
        name="skein-key"
        autoComplete="current-password"
        spellcheck={false}
        autofocus
        value={key}
        error={error}
        onInput={setKey}
        onKeyDown={(event) => event.key === 'Enter' && void save()}
      />
    </Dialog>
  )
}

import { Button, IconButton } from './Button.tsx'
import { Icon } from './Icon.tsx'
import { uiLabels } from './labels.ts'
import { toasts, type ShownToast } from './toasts.ts'

/** Where toasts appear; once in the page. */
export function Toasts() {
  const [errors, others] = [toasts.value.filter(isError), toasts.value.filter((toast) => !isError(toast))]
  return (
    <div class="ui-toasts">
      {/* both are there before their messages, or readers of screens would not tell these */}
      <div role="alert">
        {errors.map((toast) => (
          <ToastCard key={toast.id} toast={toast} />
        ))}
      </div>
      <div role="status">
        {others.map((toast) => (
          <ToastCard key={toast.id} toast={toast} />
        ))}
      </div>
    </div>
  )
}

const isError = (toast: ShownToast): boolean => toast.tone === 'danger'

function ToastCard({ toast }: { readonly toast: ShownToast }) {
  const { id, text, tone = 'neutral', action } = toast
  const hide = (): void => {
    toasts.value = toasts.value.filter((shown) => shown.id !== id)
  }
  return (
    <div class={`ui-toast ui-tone-${tone}`}>
      {tone !== 'neutral' && <Icon name={tone === 'good' ? 'check' : 'alert'} size={17} />}
      <span class="ui-toast-text">{text}</span>
      {action !== undefined && (
        <Button
          size="s"
          kind="quiet"
          onClick={() => {
            hide()
            action.onClick()
          }}
        >
          {action.label}
        </Button>
      )}
      <IconButton icon="close" size="s" label={uiLabels.value.close} onClick={hide} />
    </div>
  )
}

/** The owner's policy for the cloud as dispatch asks it: which requests may leave, and what is taken out of them before. */
import { isListed, type CloudReason } from '../../mesh/protocol/index.ts'
import type { CloudRules } from '../dispatch/index.ts'
import { Redactor } from './redaction.ts'
import type { PolicySettings } from './settings-policy.ts'

const NONE: ReadonlySet<CloudReason> = new Set()

export function cloudRules({ reasons, models, tenants, redact, cascade }: PolicySettings): CloudRules {
  const redactor = new Redactor(redact)
  const taken: ReadonlySet<CloudReason> = new Set(reasons)
  return {
    reasonsFor: ({ names, tenant }) => (isNamed(models, names) && isNamed(tenants, [tenant]) ? taken : NONE),
    cascadeFor: (names) => {
      const rule = cascade.find((each) => isNamed(each.models, names))
      return (
        rule && {
          meanLogprobMin: rule.meanLogprob,
          ...(rule.tokenLogprob !== undefined && { tokenLogprobMin: rule.tokenLogprob }),
          ...(rule.tokens !== undefined && { tokens: rule.tokens }),
        }
      )
    },
    prompt: (prompt) => redactor.prompt(prompt),
    work: (work) => redactor.work(work),
    finds: (text) => redactor.finds(text),
  }
}

/** As `isListed`, but of an empty list nothing is: an owner who takes the last name out of it lets nothing leave. */
const isNamed = (entries: readonly string[], names: readonly string[]): boolean =>
  entries.length > 0 && isListed(entries, names)

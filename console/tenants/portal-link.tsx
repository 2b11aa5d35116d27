import { useState } from 'react';
import { CreatePortalSessionDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField } from '../ui/field.tsx';
import { ShownOnceForm } from '../ui/shown-once.tsx';
import { useForm } from '../ui/use-form.ts';
import { tenantsWords as words } from './messages.ts';

type PortalLinkProps = { readonly tenant: string; readonly onClose: () => void };

type LinkValues = { readonly scope: 'TENANT_READ' | 'TENANT_WRITE'; readonly payloads: 'shown' | 'hidden' };

/** Creates a session of the portal for a tenant, and shows its one-time link. */
export function PortalLink({ tenant, onClose }: PortalLinkProps) {
  const [link, setLink] = useState<string>();
  const action = useAction(CreatePortalSessionDocument, (data) => data.createPortalSession);
  const { values, field, state } = useForm<LinkValues>({ scope: 'TENANT_READ', payloads: 'shown' }, action);
  const create = async () => {
    const { scope, payloads } = values;
    const input = { tenant, scope, hidePayloads: payloads === 'hidden', ttlSeconds: TTL_SECONDS };
    const payload = await action.run({ input });
    if (payload !== undefined)
      setLink(payload.url ?? `${new URL('../portal/', document.baseURI).href}#code=${payload.code}`);
  };
  if (link !== undefined) {
    return (
      <Dialog title={words.portalLink} onClose={onClose}>
        <ShownOnceForm label={words.oneTimeLink} value={link} hint={words.oneTimeLinkHint} onClose={onClose} />
      </Dialog>
    );
  }
  return (
    <Dialog title={words.portalLink} onClose={onClose}>
      <Form
        form={state}
        onSubmit={create}
        actions={<FormButtons submit={words.createLink} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <p>{words.portalLinkHint(tenant)}</p>
        <SelectField
          {...field('scope')}
          label={words.rights}
          options={[
            { value: 'TENANT_READ', name: words.read },
            { value: 'TENANT_WRITE', name: words.write },
          ]}
        />
        <SelectField
          {...field('payloads', 'hidePayloads')}
          label={words.payloads}
          options={[
            { value: 'shown', name: words.shown },
            { value: 'hidden', name: words.hidden },
          ]}
        />
      </Form>
    </Dialog>
  );
}

/** The session of a support case. */
const TTL_SECONDS = 3_600;

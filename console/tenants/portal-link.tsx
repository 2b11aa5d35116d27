import { useState } from 'react';
import { ApiKeyScope, CreatePortalSessionDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField } from '../ui/field.tsx';
import { ShownOnceForm } from '../ui/shown-once.tsx';
import { tenantsWords as words } from './messages.ts';

type PortalLinkProps = { readonly tenant: string; readonly onClose: () => void };

/** Creates a session of the portal for a tenant, and shows its one-time link. */
export function PortalLink({ tenant, onClose }: PortalLinkProps) {
  const [scope, setScope] = useState<string>(ApiKeyScope.TenantRead);
  const [payloads, setPayloads] = useState('shown');
  const [link, setLink] = useState<string>();
  const action = useAction(CreatePortalSessionDocument, (data) => data.createPortalSession);
  const create = async () => {
    const payload = await action.run({
      input: {
        tenant,
        scope: scope === 'TENANT_WRITE' ? ApiKeyScope.TenantWrite : ApiKeyScope.TenantRead,
        hidePayloads: payloads === 'hidden',
        ttlSeconds: TTL_SECONDS,
      },
    });
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
        onSubmit={create}
        failure={action.failure}
        actions={<FormButtons submit={words.createLink} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <p>{words.portalLinkHint(tenant)}</p>
        <SelectField
          label={words.rights}
          value={scope}
          onChange={setScope}
          options={[
            { value: ApiKeyScope.TenantRead, name: words.read },
            { value: ApiKeyScope.TenantWrite, name: words.write },
          ]}
        />
        <SelectField
          label={words.payloads}
          value={payloads}
          onChange={setPayloads}
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

import { useState } from 'react';
import { ApiKeyScope, CreateKeyDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextField } from '../ui/field.tsx';
import { ShownOnceForm } from '../ui/shown-once.tsx';
import { useForm } from '../ui/use-form.ts';
import { keysWords as words } from './messages.ts';

type KeyValues = { readonly name: string; readonly scope: ApiKeyScope; readonly tenant: string };

/** The form of a new key, then the key. */
export function CreateKey({ onClose }: { readonly onClose: () => void }) {
  const [key, setKey] = useState<string>();
  const action = useAction(CreateKeyDocument, (data) => data.createApiKey);
  const { values, field, state } = useForm<KeyValues>({ name: '', scope: 'TENANT_WRITE', tenant: '' }, action);
  const { name, scope, tenant } = values;
  const hasTenant = scope !== 'ADMIN';
  const create = async () => {
    const input = { name, scope, ...(hasTenant && tenant.trim() !== '' && { tenant: tenant.trim() }) };
    const payload = await action.run({ input });
    if (payload !== undefined) setKey(payload.key);
  };
  if (key !== undefined) {
    return (
      <Dialog title={words.created} onClose={onClose}>
        <ShownOnceForm label={words.key} value={key} hint={words.shownOnce} onClose={onClose} />
      </Dialog>
    );
  }
  return (
    <Dialog title={words.create} onClose={onClose}>
      <Form
        form={state}
        onSubmit={create}
        actions={<FormButtons submit={words.create} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <TextField {...field('name')} label={words.name} hint={words.nameHint} />
        <SelectField
          {...field('scope')}
          label={words.scope}
          hint={words.scopes[scope]}
          options={Object.values(ApiKeyScope).map((value) => ({ value, name: value }))}
        />
        {hasTenant && (
          <TextField
            {...field('tenant')}
            label={messages.columns.tenant}
            hint={scope === 'PUBLISH' ? words.tenantOptional : undefined}
          />
        )}
      </Form>
    </Dialog>
  );
}

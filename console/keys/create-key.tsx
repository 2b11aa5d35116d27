import { useState } from 'react';
import { ApiKeyScope, CreateKeyDocument } from '../generated/graphql.ts';
import { useAction } from '../graphql/use-action.ts';
import { messages } from '../messages.ts';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, SelectField, TextField } from '../ui/field.tsx';
import { ShownOnceForm } from '../ui/shown-once.tsx';
import { keysWords as words } from './messages.ts';

/** The form of a new key, then the key. */
export function CreateKey({ onClose }: { readonly onClose: () => void }) {
  const [name, setName] = useState('');
  const [scope, setScope] = useState<ApiKeyScope>(ApiKeyScope.TenantWrite);
  const [tenant, setTenant] = useState('');
  const [key, setKey] = useState<string>();
  const action = useAction(CreateKeyDocument, (data) => data.createApiKey);
  const create = async () => {
    const input = { name, scope, ...(tenant.trim() !== '' && { tenant: tenant.trim() }) };
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
  const problems = action.failure?.problems;
  return (
    <Dialog title={words.create} onClose={onClose}>
      <Form
        onSubmit={create}
        failure={action.failure}
        actions={<FormButtons submit={words.create} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <TextField
          label={words.name}
          hint={words.nameHint}
          path="name"
          problems={problems}
          value={name}
          onChange={setName}
        />
        <SelectField
          label={words.scope}
          hint={words.scopes[scope]}
          path="scope"
          problems={problems}
          value={scope}
          onChange={(value) => setScope(Object.values(ApiKeyScope).find((each) => each === value) ?? scope)}
          options={Object.values(ApiKeyScope).map((value) => ({ value, name: value }))}
        />
        {scope !== 'ADMIN' && (
          <TextField
            label={messages.columns.tenant}
            hint={scope === 'PUBLISH' ? words.tenantOptional : undefined}
            path="tenant"
            problems={problems}
            value={tenant}
            onChange={setTenant}
          />
        )}
      </Form>
    </Dialog>
  );
}

import { useState } from 'react';
import type { TypedDocumentNode } from 'urql';
import { useAction } from '../graphql/use-action.ts';
import { Button } from '../ui/button.tsx';
import { Dialog } from '../ui/dialog.tsx';
import { Form, FormButtons, TextField } from '../ui/field.tsx';
import { useForm } from '../ui/use-form.ts';
import { readRate } from './job-form-values.ts';
import { replaysWords as words } from './messages.ts';

type ChangeRateProps<Data, Result> = {
  readonly id: string;
  /** The current rate. */
  readonly rate: number;
  readonly mutation: TypedDocumentNode<Data, { id: string; ratePerSecond: number }>;
  readonly resultOf: (data: Data) => Result;
};

/** A button that changes the rate of a running replay or job. */
export function ChangeRate<Data, Result extends object>(props: ChangeRateProps<Data, Result>) {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <Button onClick={() => setOpen(true)}>{words.changeRate}</Button>
      {isOpen && <RateForm {...props} onClose={() => setOpen(false)} />}
    </>
  );
}

function RateForm<Data, Result extends object>(
  props: ChangeRateProps<Data, Result> & { readonly onClose: () => void },
) {
  const { id, rate, mutation, resultOf, onClose } = props;
  const action = useAction(mutation, resultOf);
  const { values, field, check, state } = useForm({ rate: String(rate) }, { failure: action.failure });
  const submit = async () => {
    const { ratePerSecond, problems } = readRate(values.rate);
    if (check(problems) && (await action.run({ id, ratePerSecond })) !== undefined) onClose();
  };
  return (
    <Dialog title={words.changeRate} onClose={onClose}>
      <Form
        form={state}
        onSubmit={submit}
        actions={<FormButtons submit={words.changeRate} isDisabled={action.isRunning} onDismiss={onClose} />}
      >
        <TextField
          {...field('rate', 'ratePerSecond')}
          label={words.rate}
          hint={words.changeRateHint}
          inputMode="numeric"
        />
      </Form>
    </Dialog>
  );
}

import fc from 'fast-check';

// The same run for everyone: a property test that fails here fails anywhere. `FC_SEED=n` explores other runs.
fc.configureGlobal({ seed: Number(process.env.FC_SEED ?? 20_261_122) });

import { useAdversary } from '../harness/adversary.ts';
await useAdversary(['connections'], '../integration/drivers.test.ts');

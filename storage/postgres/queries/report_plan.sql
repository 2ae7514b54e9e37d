-- Until the transaction ends. A plan for any arguments (asyncpg keeps statements, and the server turns to one after five
-- times) joins for all of what pages and filters leave out; to compile a plan takes longer than to run it.
SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true)

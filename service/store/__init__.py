"""Everything that speaks SQL. Functions take an open connection and return values of `drn` or small frozen rows."""

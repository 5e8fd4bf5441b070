//! baymodel
